"""Sound in and out: files to samples, samples to files.

WAV, FLAC, MP3 and Ogg Vorbis are read by ``miniaudio``, WAV and raw samples are written by hand;
everything else goes through ffmpeg where it is installed. ffmpeg is always told which kind of file
it gets, found by its first bytes: left to guess, it would also read playlists, which name other
files and addresses.
"""

from __future__ import annotations

import asyncio
import struct
import tempfile
from array import array
from collections.abc import AsyncIterator

from stead.core.errors import BadRequest
from stead.services import programs

RATE = 16_000
"""Samples a second that every recogniser here wants."""
MOST_S = 2 * 3600.0
"""The longest recording taken, in seconds."""

_NATIVE = frozenset({"wav", "flac", "mp3", "ogg"})
_DEMUXERS = {
    "opus": "ogg", "m4a": "mov", "webm": "matroska", "aac": "aac", "aiff": "aiff", "amr": "amr",
    "wma": "asf", "caf": "caf", "au": "au",
}  # fmt: skip
#: Format of an answer: arguments of ffmpeg (none: written by hand) and content type.
FORMATS: dict[str, tuple[tuple[str, ...], str]] = {
    "wav": ((), "audio/wav"),
    "pcm": ((), "audio/pcm"),
    "mp3": (("-c:a", "libmp3lame", "-q:a", "4", "-f", "mp3"), "audio/mpeg"),
    "opus": (("-c:a", "libopus", "-b:a", "32k", "-f", "ogg"), "audio/ogg"),
    "aac": (("-c:a", "aac", "-b:a", "64k", "-f", "adts"), "audio/aac"),
    "flac": (("-c:a", "flac", "-f", "flac"), "audio/flac"),
}


def kind_of(data: bytes) -> str:
    """What kind of sound file this is; empty: none that is known here."""
    head = data[:64]
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"OggS":
        return "opus" if b"OpusHead" in head else "ogg"
    if head[4:8] == b"ftyp":
        return "m4a"
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 in (0xE2, 0xE4)):
        return "mp3"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"
    for start, kind in (
        (b"fLaC", "flac"), (b"\x1aE\xdf\xa3", "webm"), (b"FORM", "aiff"), (b"#!AMR", "amr"),
        (b"0&\xb2u\x8ef\xcf\x11", "wma"), (b"caff", "caf"), (b".snd", "au"),
    ):  # fmt: skip
        if head.startswith(start):
            return kind
    return ""


async def samples(data: bytes) -> array[int]:
    """One channel of 16-bit samples at 16 kHz.

    Raises ``BadRequest`` for what is no sound, ``ProgramMissing`` where ffmpeg would be needed.
    """
    if not data:
        raise BadRequest(why="the file is empty", param="file")
    kind = kind_of(data)
    if not kind:
        raise BadRequest(
            why="the file is not a kind of sound that is known here (wav, flac, mp3, ogg, opus,"
            " m4a, mp4, webm, aac, aiff, amr, wma, caf, au)",
            param="file",
        )
    if kind in _NATIVE:
        return _whole(await asyncio.to_thread(_native, data, kind))
    program = programs.found("ffmpeg", f"Sound of the kind {kind}")
    # Some kinds have their index at the end, so it must be a file; it has no name, and is gone
    # with this process.
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        args = [
            program, "-nostdin", "-v", "error", "-protocol_whitelist", "file",
            "-f", _DEMUXERS[kind], "-i", f"/dev/fd/{file.fileno()}", "-vn", "-t", str(MOST_S + 1),
            "-f", "s16le", "-ac", "1", "-ar", str(RATE), "pipe:1",
        ]  # fmt: skip
        most = int((MOST_S + 2) * RATE * 2)
        try:
            raw = await programs.output(args, fds=(file.fileno(),), most=most)
        except programs.ProgramFailed as error:
            raise BadRequest(why=f"the sound cannot be read: {error.message}") from error
    out = array("h")
    out.frombytes(raw[: len(raw) // 2 * 2])
    return _whole(_bounded(out))


def _native(data: bytes, kind: str) -> array[int]:
    import miniaudio  # late: an extra, and only a service needs it

    out = array("h")
    try:
        stream = miniaudio.stream_memory(
            data, output_format=miniaudio.SampleFormat.SIGNED16, nchannels=1, sample_rate=RATE,
            frames_to_read=RATE * 4,
        )  # fmt: skip
        for piece in stream:
            out.extend(piece)
            _bounded(out)
    except miniaudio.MiniaudioError as error:
        raise BadRequest(why=f"the {kind} file cannot be read: {error}", param="file") from error
    return out


def _whole(out: array[int]) -> array[int]:
    if not out:
        raise BadRequest(why="there is no sound in the file", param="file")
    return out


def _bounded(out: array[int]) -> array[int]:
    if len(out) > MOST_S * RATE:
        raise BadRequest(why=f"the recording is longer than {MOST_S / 60:g} minutes", param="file")
    return out


def wav_head(rate: int, size: int | None) -> bytes:
    """The beginning of a WAV file of 16-bit samples; ``size`` None: its length is not known yet.

    Programs that read such a stream take the largest length there is as "to the end".
    """
    length = 0xFFFF_FFFF if size is None else size
    riff = length if size is None else length + 36
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16,
        b"data", length,
    )  # fmt: skip


async def encoded(pieces: AsyncIterator[bytes], rate: int, wanted: str) -> AsyncIterator[bytes]:
    """Raw 16-bit samples in the wanted format, as they come. ``wanted`` is one of ``FORMATS``."""
    arguments, _ = FORMATS[wanted]
    if not arguments:
        if wanted == "wav":
            yield wav_head(rate, None)
        async for piece in pieces:
            yield piece
        return
    program = programs.found("ffmpeg", f"Speech as {wanted}")
    args = [
        program, "-nostdin", "-v", "error", "-f", "s16le", "-ar", str(rate), "-ac", "1",
        "-protocol_whitelist", "pipe", "-i", "pipe:0", *arguments, "-flush_packets", "1", "pipe:1",
    ]  # fmt: skip
    async for piece in programs.piped(args, pieces):
        yield piece
