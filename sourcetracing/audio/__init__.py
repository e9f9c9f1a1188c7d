"""Audio in: files of any format to waveforms, whole or as a stream; codecs through ffmpeg's pipes."""
