"""Files from elsewhere: plain HTTP, the Hugging Face Hub, and archives unpacked safely."""
