"""Which GPUs a process within walls gets; no machine with one is needed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from modelyard.workers import gpus, sandbox
from modelyard.workers.gpus import Gpu, Grant, driver_in, gpus_at, granted, read_gpu

FOUR = [Gpu(f"GPU-{letter}0", minor) for letter, minor in zip("abcd", (2, 0, 1, 3), strict=True)]
FOR_ALL = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
WORDS = "Model: \t NVIDIA A10\nIRQ: \t 33\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\nExcluded: No\n"


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["GPU-a0", "GPU-b0", "GPU-c0", "GPU-d0"]),
        ("0", ["GPU-a0"]),
        ("3, 1", ["GPU-d0", "GPU-b0"]),
        ("GPU-c", ["GPU-c0"]),
        ("", []),
        ("NoDevFiles", []),
        ("-1", []),
        ("1,9,2", ["GPU-b0"]),
        ("MIG-a0", []),
    ],
)
def test_what_is_visible_to_the_server_is_what_it_hands_on(visible: str | None, names: list[str]) -> None:
    found = granted(1, FOUR, visible, [])
    minors = {gpu.uuid: gpu.minor for gpu in FOUR}
    files = tuple(f"/dev/nvidia{minors[name]}" for name in names)
    assert found.devices == ((*FOR_ALL, *files) if names else ())
    assert found.environment.get("CUDA_VISIBLE_DEVICES", "") == ",".join(names)


@pytest.mark.parametrize(("wanted", "here"), [(0, FOUR), (1, []), (0.5, [])])
def test_nothing_is_shown_where_none_is_asked_for_or_here(wanted: float, here: list[Gpu]) -> None:
    assert granted(wanted, here, None, ["/opt/driver"]) == Grant()


def test_the_drivers_own_folder_is_shown_and_searched(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libcuda.so.1").touch()
    own = driver_in(f"/nowhere::{tmp_path}:{tmp_path / 'lib'}")
    found = granted(0.5, FOUR[:1], None, own)
    assert found.read_only == (str(tmp_path / "lib"),)
    assert found.environment["LD_LIBRARY_PATH"] == str(tmp_path / "lib")


def test_the_drivers_words_are_read_in_the_order_of_the_bus(tmp_path: Path) -> None:
    assert gpus_at(tmp_path / "no driver") == []
    for place, uuid, minor in (("0000:3b:00.0", "GPU-b0", 0), ("0000:1e:00.0", "GPU-a0", 2)):
        (tmp_path / place).mkdir()
        (tmp_path / place / "information").write_text(WORDS.format(uuid=uuid, minor=minor))
    assert gpus_at(tmp_path) == FOUR[:2]
    assert read_gpu(WORDS.format(uuid="GPU-????????", minor="unknown")) is None


def test_who_asks_for_none_is_not_even_looked_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "0000:1e:00.0").mkdir()
    (tmp_path / "0000:1e:00.0/information").write_text(WORDS.format(uuid="GPU-a0", minor=0))
    monkeypatch.setattr(gpus, "_HERE", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert gpus.grant(0) == Grant()
    assert gpus.grant(1).devices[-1] == "/dev/nvidia0"


@pytest.mark.bubblewrap
def test_a_named_device_is_within_the_walls_and_one_that_is_not_here_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").write_text("a device")
    walls = sandbox.Walls(devices=(str(tmp_path / "nvidia0"), str(tmp_path / "nvidia1")))
    script = f"cat {tmp_path}/nvidia0; ls {tmp_path}"
    done = subprocess.run(
        sandbox.contained(["/bin/sh", "-c", script], walls), capture_output=True, text=True, check=True
    )
    assert done.stdout == "a devicenvidia0\n"
