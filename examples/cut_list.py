"""Cut what does not belong out of a video: python cut_list.py SCORES OUT.mp4, where `winnow score` wrote into SCORES.

It needs the ffmpeg program. Frames are copied, not encoded anew, so cuts lie at key frames."""

import subprocess
import sys
from pathlib import Path

scores, out = Path(sys.argv[1]), Path(sys.argv[2])
lists = sorted(scores.glob("*.ffconcat"))
if len(lists) != 1:
    sys.exit(f"{scores} holds {len(lists)} cut lists: score one video at a time.")
command = [
    "ffmpeg",
    "-loglevel",
    "error",
    "-y",
    "-safe",
    "0",
    "-f",
    "concat",
    "-i",
    str(lists[0]),
    "-c",
    "copy",
    str(out),
]
subprocess.run(command, check=True)
print(f"{out}: what belongs of {lists[0].stem}")
