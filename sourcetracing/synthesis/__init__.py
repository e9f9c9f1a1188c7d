"""How the demo corpus is made: a synthesizer, vocoders, a channel, soundscapes and rooms. Nothing here reads a real corpus."""
