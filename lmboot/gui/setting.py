"""The settings at work: what they change in the window, and the window that changes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lmboot.gui import messages as m
from lmboot.gui.look import system_theme

if TYPE_CHECKING:
    from lmboot.gui.settingswindow import SettingsWindow
    from lmboot.gui.window import Window


class Setting:
    """Holds the values in force by their dotted names."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self.values: Mapping[str, Any] = {}
        self._open: SettingsWindow | None = None
        window.take({m.Ready: self._ready})
        window.root.bind("<FocusIn>", self._look_again, add=True)

    def _ready(self, message: m.Ready) -> None:
        from lmboot.gui import history

        first, window = not self.values, self._window
        self.values, window.has_lms = message.settings, message.has_lms
        window.outbox.scrollback = int(self.values["window.scrollback"])
        self._use_theme()
        if first:
            window.talking.histories = history.load(message.history)
            window.show()
        window.reading.use_zoom(float(self.values["window.zoom"]))

    def _use_theme(self) -> None:
        theme = str(self.values.get("window.theme", "system"))
        root = self._window.root
        self._window.look.use(system_theme(root) if theme == "system" else theme)

    def _look_again(self, event: Any) -> None:
        """Follow the system's colours, which may have changed while another window was used."""
        if event.widget is self._window.root and self.values:
            self._use_theme()

    def open(self) -> None:
        """Show the settings window, or bring it to the front."""
        from lmboot.gui.settingswindow import SettingsWindow

        if self._open is not None and self._open.open:
            self._open.lift()
            return
        window = self._window
        window.post(lambda stage: stage.prepare_saving())
        self._open = SettingsWindow(
            window.root, window.look, self.values, self._save, self._forget_history
        )

    def _save(self, changes: dict[str, Any]) -> str | None:
        """Write what was changed; return why it can't be, None when it was."""
        from lmboot.errors import LmbootError
        from lmboot.settings import save

        try:
            save(self.values["path"], changes)
        except LmbootError as error:
            return error.in_full
        self._window.post(lambda stage: stage.use_settings())
        return None

    def _forget_history(self) -> None:
        self._window.talking.histories.clear()
        self._window.post(lambda stage: stage.forget_history())
