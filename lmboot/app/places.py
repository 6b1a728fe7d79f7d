"""Where lmboot keeps the user's things, by the system's own conventions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True, slots=True)
class Places:
    """The folders and files of one user; none is made before something is written there."""

    settings: Path
    payloads: Path
    transcripts: Path
    audit: Path

    @property
    def grants(self) -> Path:
        """Where what was granted for always is kept, beside the payloads that have it."""
        return self.payloads.with_name("grants")


def places() -> Places:
    """Return the places of the user who runs lmboot."""
    data = platformdirs.user_data_path("lmboot", appauthor=False)
    state = platformdirs.user_state_path("lmboot", appauthor=False)
    return Places(
        settings=platformdirs.user_config_path("lmboot", appauthor=False) / "settings.toml",
        payloads=data / "payloads",
        transcripts=state / "transcripts",
        audit=state / "audit",
    )
