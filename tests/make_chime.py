"""Makes the sound of a new page: `python -m tests.make_chime`. Two rising tones, half a second, 8,000 samples a second, 8 bits."""

from __future__ import annotations

import io
import math
import wave

from console.render import STATIC

RATE = 8000
#: hertz and seconds of each tone
TONES = ((784.0, 0.18), (1174.7, 0.34))
FILE = STATIC / "sound" / "page.wav"


def chime() -> bytes:
    """The WAV file."""
    samples = bytearray()
    for hertz, seconds in TONES:
        count = int(RATE * seconds)
        for index in range(count):
            # begins and ends softly: a hard edge would click
            loud = min(1.0, index / 160, (count - index) / 800)
            wave_at = math.sin(2 * math.pi * hertz * index / RATE)
            samples.append(round(128 + 90 * loud * wave_at))
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(RATE)
        file.writeframes(bytes(samples))
    return out.getvalue()


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_bytes(chime())
