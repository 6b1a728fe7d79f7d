"""Which names a runtime may not give to a file in a granted folder."""

from __future__ import annotations

import pytest

from lmboot.runtime.autorun import runs_by_itself


@pytest.mark.parametrize(
    "path",
    [
        *("autorun.inf", "Desktop.INI", "sitecustomize.py", "usercustomize.py", "pyvenv.cfg"),
        *("run.desktop", "x.lnk", "e.pth", "link.url", "a.webloc"),
        *("run.sh", "go.command", "x.fish", "evil.bat", "evil.cmd", "setup.exe", "a.com", "b.scr"),
        *("x.ps1", "m.psm1", "x.vbs", "x.vbe", "x.jse", "x.wsf", "x.hta", "x.reg", "x.msi"),
        *("__pycache__/os.cpython-311.pyc", "lib.so", "x.dll", "x.jar", "app.AppImage"),
        *("EVIL.BAT", "evil.Bat", "notes.txt.exe", "deep/er/run.sh", "evil.ｓｈ", "evil.ſh"),
        *("lib/sitecustomize.py", "x.workflow/document.wflow", "X.app/Contents/a.txt"),
    ],
)
def test_what_runs_because_it_is_there_or_is_clicked_on_is_known(path: str) -> None:
    assert runs_by_itself(path)


@pytest.mark.parametrize(
    "path",
    [
        *("a.txt", "notes.md", "data.json", "table.csv", "w.db", "page.html", "drawing.svg"),
        *(
            "main.py",
            "app.js",
            "style.css",
            "conftest.py",
            "Makefile",
            "setup.py",
            "pyproject.toml",
        ),
        *("sh", "bash", "exe.txt", "run.sh.txt", "my-autorun.inf.md", "sitecustomize.pyi"),
        *("desktop.ini/a.txt", "v1.run/log.txt", "my.service/a.txt", "shell.py", "dish", "so"),
    ],
)
def test_ordinary_files_and_sources_are_ordinary(path: str) -> None:
    assert not runs_by_itself(path)
