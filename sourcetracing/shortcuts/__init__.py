"""How far do trivial cues alone get? (script 09)"""
