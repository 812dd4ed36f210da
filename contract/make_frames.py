"""Writes the golden frames, spelled out byte by byte, without the house's own encoder."""

import struct
from pathlib import Path

HERE = Path(__file__).parent / "frames"


def frame(header: bytes, body: bytes = b"") -> bytes:
    """Prefix, header and body; the lengths are right whatever the header says."""
    return b"YRD1" + struct.pack("<II", len(header), len(body)) + header + body


def doubles(*values: float) -> bytes:
    """Little-endian doubles."""
    return struct.pack(f"<{len(values)}d", *values)


def longs(*values: int) -> bytes:
    """Little-endian 64-bit integers."""
    return struct.pack(f"<{len(values)}q", *values)


NA_R = struct.pack("<Q", 0x7FF00000000007A2)  # R's NA_real_: a NaN whose low word is 1954
NAN = struct.pack("<Q", 0x7FF8000000000000)

GOOD = {
    "ping": frame(b"ping\nid\t1\n"),
    "pong": frame(b"pong\nid\t1\ninfers\t12\nanswered\t340\nmemory\t67108864\n"),
    "load": frame(
        b"load\nid\t1\nbundle\t/srv/yard/bundle\nentry\tmodel.rds\noption\tfamily\tlm\n"
        b"input\tdistance\tfloat64\t0\ninput\tcarrier\tstring\t1\tAA\tUA\n"
    ),
    "ready": frame(b"ready\nid\t1\nruntime\tR\t4.2.2\ntakes\tfloat64\tbool\tstring\n"),
    "error": frame(b"error\nid\t3\nkind\tmodel\nmessage\tline one\\nline two\\tand a \\\\ backslash\n"),
    "float64": frame(b"infer\nid\t2\nrows\t3\ncolumn\tx\tfloat64\t24\t0\n", doubles(1.5, -0.0, 1e308)),
    "float64-special": frame(
        b"infer\nid\t2\nrows\t4\ncolumn\tx\tfloat64\t32\t0\n",
        NAN + NA_R + doubles(float("inf"), float("-inf")),
    ),
    "int64": frame(b"infer\nid\t2\nrows\t3\ncolumn\tn\tint64\t24\t0\n", longs(0, -1, 2**31)),
    "int64-large": frame(
        b"infer\nid\t2\nrows\t4\ncolumn\tn\tint64\t32\t1\n",
        longs(-(2**63), 2**63 - 1, 0, 2**53 + 1) + b"\x01\x01\x00\x01",
    ),
    "bool": frame(b"infer\nid\t2\nrows\t2\ncolumn\tb\tbool\t2\t0\n", b"\x00\x01"),
    "bool-missing": frame(b"infer\nid\t2\nrows\t3\ncolumn\tb\tbool\t3\t1\n", b"\x01\x00\x00\x01\x00\x01"),
    "string": frame(b"infer\nid\t2\nrows\t3\ncolumn\ts\tstring\t15\t0\n", "abc\0\0grün €\0".encode()),
    "string-missing": frame(
        b"infer\nid\t2\nrows\t3\ncolumn\ts\tstring\t5\t1\n", b"NA\0\0\0" + b"\x01\x01\x00"
    ),
    "mixed": frame(
        "infer\nid\t9\nrows\t2\ncolumn\ta b\\tc\tfloat64\t16\t0\ncolumn\tπ\tint64\t16\t0\n"
        "column\t\\\\\tbool\t2\t1\ncolumn\td\tstring\t4\t0\n".encode(),
        doubles(0.1, 0.2) + longs(7, 8) + b"\x01\x00\x01\x00" + b"x\0y\0",
    ),
    "answer-regression": frame(
        b"answer\nid\t2\nrows\t2\ncolumn\tprediction\tfloat64\t16\t0\n", doubles(3.25, float("-inf"))
    ),
    "answer-classification": frame(
        b"answer\nid\t2\nrows\t2\ncolumn\tlabel\tstring\t10\t0\n"
        b"column\tprobability:late\tfloat64\t16\t0\n"
        b"column\tprobability:time\tfloat64\t16\t0\n",
        b"late\0time\0" + doubles(0.75, 0.25) + doubles(0.25, 0.75),
    ),
    "no-rows": frame(b"infer\nid\t2\nrows\t0\ncolumn\tx\tfloat64\t0\t0\ncolumn\ts\tstring\t0\t0\n"),
    "unknown-field": frame(
        b"infer\nid\t2\nfuture\tone\ttwo\nrows\t1\ncolumn\tx\tfloat64\t8\t0\n", doubles(1.0)
    ),
}
BAD = {
    "magic": b"YRD2" + frame(b"ping\nid\t1\n")[4:],
    "empty": b"",
    "prefix-cut": b"YRD1\x05\x00",
    "header-cut": frame(b"ping\nid\t1\n")[:-3],
    "header-huge": b"YRD1" + struct.pack("<II", 2**32 - 1, 0),
    "body-huge": b"YRD1" + struct.pack("<II", 5, 2**32 - 1) + b"ping\n",
    "no-line-end": frame(b"ping"),
    "header-not-utf8": frame(b"ping\nid\t\xff\n"),
    "body-cut": frame(b"infer\nid\t2\nrows\t1\ncolumn\tx\tfloat64\t8\t0\n", doubles(1.0))[:-1],
    "body-long": frame(b"infer\nid\t2\nrows\t1\ncolumn\tx\tfloat64\t8\t0\n", doubles(1.0) + b"\x00"),
    "rows-negative": frame(b"infer\nid\t2\nrows\t-1\ncolumn\tx\tfloat64\t8\t0\n", doubles(1.0)),
    "rows-absent": frame(b"infer\nid\t2\ncolumn\tx\tfloat64\t8\t0\n", doubles(1.0)),
    "rows-huge": frame(b"infer\nid\t2\nrows\t99999999999999999999\ncolumn\tx\tfloat64\t8\t0\n", doubles(1.0)),
    "length-mismatch": frame(b"infer\nid\t2\nrows\t2\ncolumn\tx\tfloat64\t8\t0\n", doubles(1.0)),
    "type-unknown": frame(b"infer\nid\t2\nrows\t1\ncolumn\tx\tfloat32\t4\t0\n", b"\x00\x00\x80\x3f"),
    "column-short": frame(b"infer\nid\t2\nrows\t1\ncolumn\tx\tfloat64\n", doubles(1.0)),
    "strings-too-few": frame(b"infer\nid\t2\nrows\t2\ncolumn\ts\tstring\t2\t0\n", b"a\0"),
    "strings-too-many": frame(b"infer\nid\t2\nrows\t1\ncolumn\ts\tstring\t4\t0\n", b"a\0b\0"),
    "string-unended": frame(b"infer\nid\t2\nrows\t1\ncolumn\ts\tstring\t2\t0\n", b"\0a"),
    "bool-two": frame(b"infer\nid\t2\nrows\t1\ncolumn\tb\tbool\t1\t0\n", b"\x02"),
    "validity-two": frame(b"infer\nid\t2\nrows\t1\ncolumn\tb\tbool\t1\t1\n", b"\x01\x02"),
    "validity-on-float": frame(b"infer\nid\t2\nrows\t1\ncolumn\tx\tfloat64\t8\t1\n", doubles(1.0) + b"\x01"),
    "flag-wrong": frame(b"infer\nid\t2\nrows\t1\ncolumn\tb\tbool\t1\t7\n", b"\x01"),
}

if __name__ == "__main__":
    for folder, frames in ((HERE, GOOD), (HERE / "bad", BAD)):
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in frames.items():
            (folder / f"{name}.frame").write_bytes(data)
