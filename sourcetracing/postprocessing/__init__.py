"""What a file may have gone through after it was made: codecs, telephones, noise, rooms, gain, tempo, cuts, denoising."""
