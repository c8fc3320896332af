"""Command lines for ffmpeg and ffprobe, made from parsed wishes; no word of them is the model's.

What a media file may do to who plays it: a "video" can be a playlist that names other files and
URLs (HLS, DASH, concat, and references in MOV). So only single-file formats may be recognised
(``-format_whitelist``), only files and pipes opened (``-protocol_whitelist``), and the sandbox it
all runs in shows no other file than this one.

Source: ffmpeg(1), ffmpeg-formats(1), ffmpeg-filters(1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Demuxers that read one file and open no other.
FORMATS = (
    "aac", "ac3", "aiff", "amr", "ape", "asf", "ass", "au", "avi", "bmp_pipe", "caf", "dv",
    "eac3", "flac", "flv", "gif", "h264", "hevc", "ivf", "jpeg_pipe", "m4v", "matroska", "webm",
    "mjpeg", "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "mp3", "mpeg", "mpegts", "mpegvideo", "mxf",
    "nut", "ogg", "png_pipe", "rm", "srt", "tiff_pipe", "tta", "voc", "w64", "wav", "webp_pipe",
    "webvtt", "wv", "yuv4mpegpipe",
)  # fmt: skip

_H264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p")
_AAC = ("-c:a", "aac", "-b:a", "160k")
_FAST_START = ("-movflags", "+faststart")

#: What is written, by the ending of the name: (video, audio, more); empty: none of that kind.
ENDINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "mp4": (_H264, _AAC, _FAST_START),
    "mov": (_H264, _AAC, _FAST_START),
    "mkv": (_H264, _AAC, ()),
    "webm": (
        ("-c:v", "libvpx-vp9", "-crf", "33", "-b:v", "0", "-cpu-used", "5", "-row-mt", "1"),
        ("-c:a", "libopus", "-b:a", "128k"),
        (),
    ),
    "gif": (("-c:v", "gif"), (), ("-loop", "0")),
    "mp3": ((), ("-c:a", "libmp3lame", "-q:a", "3"), ()),
    "m4a": ((), _AAC, _FAST_START),
    "aac": ((), _AAC, ()),
    "wav": ((), ("-c:a", "pcm_s16le"), ()),
    "flac": ((), ("-c:a", "flac"), ()),
    "ogg": ((), ("-c:a", "libvorbis", "-q:a", "5"), ()),
    "opus": ((), ("-c:a", "libopus", "-b:a", "96k"), ()),
}
MOST_FRAMES = 200
MOST_SIZE = 7680
"""Pixels of a side."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What one file holds."""

    seconds: float = 0.0
    width: int = 0
    height: int = 0
    video: str = ""
    audio: str = ""
    rate: float = 0.0
    """Frames a second."""


def probe(program: str, file: Path) -> list[str]:
    return [
        program, "-hide_banner", "-loglevel", "error", *_guard(),
        "-show_format", "-show_streams", "-of", "json", str(file),
    ]  # fmt: skip


def _guard() -> list[str]:
    return ["-protocol_whitelist", "file,pipe", "-format_whitelist", ",".join(FORMATS)]


def _begin(program: str) -> list[str]:
    return [program, "-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-threads", "2"]


def convert(
    program: str,
    file: Path,
    out: Path,
    *,
    start: float = 0.0,
    end: float = 0.0,
    width: int = 0,
    exact: bool = True,
    what: Stream = Stream(),
) -> list[str]:
    """Another form of a file, or a part of it. ``exact``: made anew, not cut at key frames."""
    video, audio, more = ENDINGS[out.suffix[1:].lower()]
    made = _begin(program)
    if start:
        made += ["-ss", f"{start:.3f}"]
    if end:
        made += ["-t", f"{end - start:.3f}"]
    made += [*_guard(), "-i", str(file), "-map_metadata", "0", "-sn", "-dn"]
    if video and what.video:
        made += ["-map", "0:v:0"]
    if audio and what.audio:
        made += ["-map", "0:a:0"]
    if not exact:
        return [*made, "-c", "copy", *more, str(out)]
    if video and what.video:
        made += [*video, "-vf", _scale(out, width)]
    if audio and what.audio:
        made += audio
    return [*made, *more, str(out)]


def _scale(out: Path, width: int) -> str:
    if out.suffix == ".gif":
        return f"fps=12,scale={width or 480}:-2:flags=lanczos"
    return f"scale={width or 'trunc(iw/2)*2'}:{-2 if width else 'trunc(ih/2)*2'}"


def frames(
    program: str, file: Path, folder: Path, *, every: float, start: float, end: float, width: int
) -> list[str]:
    """One picture in so many seconds, at most ``MOST_FRAMES``."""
    made = _begin(program)
    if start:
        made += ["-ss", f"{start:.3f}"]
    if end:
        made += ["-t", f"{end - start:.3f}"]
    chosen = f"fps=1/{every:.3f}:round=up" + (f",scale={width}:-2" if width else "")
    return [
        *made, *_guard(), "-i", str(file), "-map", "0:v:0", "-vf", chosen,
        "-frames:v", str(MOST_FRAMES), "-q:v", "3", str(folder / "%04d.jpg"),
    ]  # fmt: skip


def join(program: str, files: Sequence[Path], streams: Sequence[Stream], out: Path) -> list[str]:
    """Files one after the other, in the size of the first."""
    video, audio, more = ENDINGS[out.suffix[1:].lower()]
    seen = bool(video) and all(stream.video for stream in streams)
    heard = bool(audio) and all(stream.audio for stream in streams)
    made = _begin(program)
    for file in files:
        made += [*_guard(), "-i", str(file)]
    first = streams[0]
    width, height = first.width // 2 * 2, first.height // 2 * 2
    rate = first.rate if 0 < first.rate <= 120 else 25.0
    parts, ends = [], []
    for number in range(len(files)):
        if seen:
            parts.append(
                f"[{number}:v:0]scale={width}:{height}:force_original_aspect_ratio=decrease,"
                f"pad={width}:{height}:(ow-iw)/2:(oh-ih)/2,setsar=1,fps={rate:.3f},"
                f"format=yuv420p[v{number}]"
            )
            ends.append(f"[v{number}]")
        if heard:
            parts.append(f"[{number}:a:0]aresample=48000,aformat=channel_layouts=stereo[a{number}]")
            ends.append(f"[a{number}]")
    outs = "[v]" * seen + "[a]" * heard
    joined = "".join(ends) + f"concat=n={len(files)}:v={int(seen)}:a={int(heard)}{outs}"
    made += ["-filter_complex", ";".join([*parts, joined])]
    made += (["-map", "[v]", *video] if seen else []) + (["-map", "[a]", *audio] if heard else [])
    return [*made, *more, str(out)]


def stream_of(told: dict[str, Any]) -> Stream:
    """What ffprobe says of a file (its JSON), as far as it matters here."""
    seconds = _number(told.get("format", {}).get("duration"))
    found: dict[str, Any] = {}
    for stream in told.get("streams", []):
        kind = stream.get("codec_type")
        if kind == "video" and "video" not in found:
            above, _, below = str(stream.get("avg_frame_rate", "")).partition("/")
            found |= {
                "video": str(stream.get("codec_name", "unknown")),
                "width": int(_number(stream.get("width"))),
                "height": int(_number(stream.get("height"))),
                "rate": _number(above) / (_number(below) or 1.0),
            }
        elif kind == "audio" and "audio" not in found:
            found["audio"] = str(stream.get("codec_name", "unknown"))
    return Stream(seconds=seconds, **found)


def seconds(text: str) -> float:
    """``90``, ``1:30``, ``0:01:30.5`` as seconds. Raises ``ValueError``."""
    if not text.strip():
        return 0.0
    made = 0.0
    for number in text.strip().split(":"):
        if not number.replace(".", "", 1).isdecimal():
            raise ValueError(f"{text!r} is no time; write seconds, or H:MM:SS")
        made = made * 60 + float(number)
    return made


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return 0.0
