"""The portable sandbox's own programs: its host process, what runs inside, what compiles it."""
