"""Which names make a file run, or be obeyed, without anybody meaning to run it; pure.

What a runtime writes into a granted folder is found there later, by a person who clicks on it, or
by a program that takes orders from files with certain names. Ordinary sources are not among them
(.py, .js, .html, Makefile, conftest.py): to have those written is what folders are granted for,
and who runs a project runs all of it, whichever of its files came from where. Names that begin
with a dot are out of reach anyway, and no file gets the right to be executed.
"""

from __future__ import annotations

from lmboot.paths import collision_key

_NAMES = frozenset(
    {"autorun.inf", "desktop.ini", "folder.htt"}  # Windows, on opening a disk or a folder
    | {"sitecustomize.py", "usercustomize.py", "pyvenv.cfg"}  # any Python that starts beside them
)
_ENDS = (
    # programs and what installs them
    *(".exe", ".com", ".scr", ".pif", ".cpl", ".dll", ".ocx", ".sys", ".msi", ".msp", ".mst"),
    *(".appx", ".msix", ".appimage", ".deb", ".rpm", ".pkg", ".dmg", ".flatpakref", ".run"),
    *(".jar", ".jnlp", ".pyc", ".pyo", ".pyz", ".pyzw", ".pyw", ".so", ".dylib", ".xpi", ".crx"),
    # a shell's, a script host's, a debugger's
    *(".sh", ".bash", ".zsh", ".ksh", ".csh", ".fish", ".command", ".tool", ".terminal"),
    *(".bat", ".cmd", ".ps1", ".ps1xml", ".psm1", ".psd1", ".psc1", ".vbs", ".vbe", ".jse"),
    *(".ws", ".wsc", ".wsf", ".wsh", ".sct", ".hta", ".reg", ".inf", ".msc", ".gadget", ".chm"),
    *(".scpt", ".applescript"),
    # links, and settings that a system takes over
    *(".desktop", ".lnk", ".url", ".webloc", ".inetloc", ".fileloc", ".scf", ".library-ms"),
    *(".search-ms", ".searchconnector-ms", ".settingcontent-ms", ".appref-ms", ".application"),
    *(".mobileconfig", ".theme", ".themepack", ".diagcab", ".website", ".service", ".timer"),
    ".pth",
)
_FOLDERS = (".app", ".workflow", ".action")  # macOS shows these as one file


def runs_by_itself(path: str) -> bool:
    """Say whether a path's last part, or a folder above it, is such a name, on any system."""
    *above, name = collision_key(path).split("/")
    in_bundle = any(part.endswith(_FOLDERS) for part in above)
    return in_bundle or name in _NAMES or name.endswith(_ENDS)
