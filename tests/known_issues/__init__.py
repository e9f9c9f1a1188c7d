"""What users of this and like tools reported: each file is named after what broke, and begins with the symptom."""
