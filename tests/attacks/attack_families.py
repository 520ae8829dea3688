"""Families of requests that differ in one place: every control character, every spelling, every size.

Each family is a table of (name, bytes at that place); the request around it is the plainest there is, so that nothing else can be
the cause of a refusal. All go to a public route: no token is in play.
"""

from collections.abc import Iterator

from attack_corpus import Case

HOST = b"Host: shop.example\r\n"
CONTROLS = [bytes((byte,)) for byte in range(0x20) if byte not in b"\t\r\n"] + [b"\x7f"]
ODD_BYTES = [*CONTROLS, b"\x80", b"\x85", b"\xa0", b"\xad", b"\xff"]
LAST_CHUNK = b"0\r\n\r\n"


def get(*lines: bytes, target: bytes = b"/public/", method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    return method + b" " + target + b" " + version + b"\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(*lines: bytes, body: bytes = b"", target: bytes = b"/public/") -> bytes:
    return get(*lines, target=target, method=b"POST") + body


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def families() -> Iterator[Case]:
    """Everything that is generated."""
    for family in (
        both_framings,
        coding_values,
        coding_beside_length,
        codings_twice,
        bytes_around_a_coding,
        names,
        blanks,
        line_ends,
        nul,
        lengths,
        chunk_sizes,
        chunk_extensions,
        chunk_line_ends,
        unfinished_chunks,
        trailers,
        versions,
        expectations,
        sizes,
        methods,
        hosts,
        targets,
        paths,
        upgrades,
        connection_options,
    ):
        yield from family()


def both_framings() -> Iterator[Case]:
    lengths = (b"0", b"3", b"6", b"44", b"99999")
    spellings = (b"Transfer-Encoding", b"transfer-encoding", b"TRANSFER-ENCODING", b"tRaNsFeR-eNcOdInG")
    for length in lengths:
        for spelling in spellings:
            pair = [b"Content-Length: " + length, spelling + b": chunked"]
            for order in (pair, pair[::-1]):
                for method in (b"POST", b"GET", b"PUT", b"DELETE", b"PATCH"):
                    name = b" ".join((method, b"+".join(order))).decode()
                    yield Case("F01", name, get(*order, method=method) + LAST_CHUNK)


def coding_values() -> Iterator[Case]:
    values = [
        "chunk",
        "chunke",
        "xchunked",
        "chunkedx",
        "chunked;a=b",
        "chunked;q=1",
        "'chunked'",
        "(chunked)",
        "<chunked>",
        "chunked/1",
        "Chunked,Chunked",
        "chunked,foo",
        "foo,chunked",
        "chunked,,",
        ",,chunked",
        ",",
        "x",
        "identity,chunked,identity",
        "gzip",
        "deflate",
        "compress",
        "br",
        "zstd",
        "x-gzip",
        "0",
        "1",
        "true",
        "none",
        "null",
        "\\chunked",
        "chunked\\",
        "[chunked]",
        "{chunked}",
        "chunked:",
        ":chunked",
        "chunked=",
        "=chunked",
        "chunked.",
        "chunked_",
        "CHUNKED,",
        "c%68unked",
        "%63hunked",
        "&#99;hunked",
        '"chunked',
        'chunked"',
        "chun;ked",
        "chun,ked",
        "trailers",
        "identity",
        "identity,identity",
    ]
    values += [
        "chun ked",
        "chunked foo",
        "foo chunked",
        "chunked\tfoo",
        "c h u n k e d",
        "chunked , ",
        "identity , chunked",
        "\t,\tchunked",
    ]
    for value in values:
        yield Case("F05", f"value {value!r}", chunked_as(value.encode()))


def chunked_as(value: bytes) -> bytes:
    return post(b"Transfer-Encoding: " + value, body=LAST_CHUNK)


def coding_beside_length() -> Iterator[Case]:
    values = [
        b"xchunked",
        b"chunked\x00",
        b"\x0bchunked",
        b"\x0cchunked",
        b"identity",
        b"chunked, identity",
        b"",
        b" ,chunked",
        b"Chunked",
    ]
    for value in values:
        for length in (b"4", b"0"):
            for order in (0, 1):
                lines = [b"Transfer-Encoding: " + value, b"Content-Length: " + length]
                name = f"{value!r} and length {length.decode()}, order {order}"
                yield Case("F02", name, post(*(lines[::-1] if order else lines), body=b"5c\r\n"))


def codings_twice() -> Iterator[Case]:
    values = [b"chunked", b"identity", b"gzip", b"x", b"", b"Chunked", b"chunked, chunked", b"chunked\x0b"]
    for first in values:
        for second in values:
            lines = [b"Transfer-Encoding: " + first, b"Transfer-Encoding: " + second]
            yield Case("F03", f"{first!r} and {second!r}", post(*lines, body=LAST_CHUNK))
    for last in (b"identity", b"gzip", b"x", b"deflate", b"trailers"):
        for separator in (b", ", b",", b" , ", b",\t"):
            yield Case("F04", f"chunked{separator!r}{last!r}", chunked_as(b"chunked" + separator + last))


def bytes_around_a_coding() -> Iterator[Case]:
    for byte in ODD_BYTES:
        for name, value in (
            ("in front", byte + b"chunked"),
            ("behind", b"chunked" + byte),
            ("within", b"chu" + byte + b"nked"),
            ("in front, after a space", b" " + byte + b"chunked"),
            ("behind, before a space", b"chunked" + byte + b" "),
            ("on both sides", byte + b"chunked" + byte),
            ("in front of a comma", b"chunked" + byte + b","),
            ("alone", byte),
        ):
            yield Case("F06", f"{byte.hex()} {name}", chunked_as(value))
        yield Case("F06", f"{byte.hex()} before the colon", post(b"Transfer-Encoding" + byte + b": chunked", body=LAST_CHUNK))
        yield Case("F06", f"{byte.hex()} before the name", post(byte + b"Transfer-Encoding: chunked", body=LAST_CHUNK))


def names() -> Iterator[Case]:
    for name in (
        b"Transfer-Encoding",
        b"Content-Length",
        b"Host",
        b"Connection",
        b"Authorization",
        b"Cookie",
        b"Expect",
        b"Upgrade",
    ):
        first, dash, second = name.partition(b"-")
        aliases = [name + b"_", b"_" + name, name + b".", name + b"~", name + b"--"]
        if dash:
            aliases += [
                first + mark + second
                for mark in (b"_", b".", b"--", b"__", b"~", b"-_", b"!", b"+", b"|", b"%", b"^", b"`", b"'")
            ]
        for alias in aliases:
            yield Case("F07", f"alias {alias!r}", get(alias + b": chunked"))
        if dash:
            for byte in (*ODD_BYTES, b" ", b"\t", b"\\", b"/", b"(", b'"', b"@", b";", b",", b"{", b"=", b"?"):
                yield Case("F07", f"{byte!r} for the dash of {name!r}", get(first + byte + second + b": chunked"))
    for unknown in (
        b"Transfer-%45ncoding",
        b"TransferEncoding",
        b"X-Transfer-Encoding",
        b"Transfer-Encodings",
        b"Transfer-Enc0ding",
    ):
        yield Case("F07", f"unknown {unknown!r}", get(unknown + b": chunked"), 0)


def blanks() -> Iterator[Case]:
    for field in (b"Content-Length", b"Transfer-Encoding", b"Host", b"Connection", b"X-User", b"X-A"):
        for blank in (b" ", b"\t", b"  ", b" \t"):
            yield Case("F08", f"{blank!r} before the colon of {field!r}", get(field + blank + b": 0"))
            yield Case(
                "F08",
                f"{blank!r} before {field!r} as the first",
                b"GET /public/ HTTP/1.1\r\n" + blank + field + b": 0\r\n" + HOST + b"\r\n",
            )
            yield Case("F09", f"fold with {blank!r} in {field!r}", get(field + b": 0\r\n" + blank + b"1"))
            yield Case("F09", f"fold with {blank!r} before a value of {field!r}", get(field + b":\r\n" + blank + b"0"))
    for blank in (b" ", b"\t"):
        yield Case("F24", f"length behind {blank!r}", get(blank + b"Content-Length: 44"))
        yield Case("F24", f"length before {blank!r} and the colon", get(b"Content-Length" + blank + b": 44"))
        yield Case("F24", f"length on a line of its own after {blank!r}", get(b"Content-Length:\r\n" + blank + b"44"))


def line_ends() -> Iterator[Case]:
    good = get(b"X-A: b", b"X-B: c")
    lines = good.split(b"\r\n")
    for end, case in (
        (b"\n", "F10"),
        (b"\r", "F11"),
        (b"\n\r", "F10"),
        (b"\r\r\n", "F11"),
        (b"\r\n\n", "F10"),
        (b"\r\x0b\n", "F11"),
    ):
        for position in range(len(lines) - 2):
            ends = [b"\r\n"] * (len(lines) - 1)
            ends[position] = end
            raw = b"".join(line + mark for line, mark in zip(lines, [*ends, b""], strict=True))
            yield Case(case, f"{end!r} after line {position}", raw)
    for inner in (b"\r", b"\n"):
        case = "F10" if inner == b"\n" else "F11"
        yield Case(case, f"{inner!r} in a value", get(b"X-A: a" + inner + b"Content-Length: 5"))
        yield Case(case, f"{inner!r} in a target", get(target=b"/public/" + inner))
        yield Case(case, f"{inner!r} in a name", get(b"X" + inner + b"A: b"))
    for tail in (b"\rX", b"\r\rX", b"\r\x00"):
        yield Case("F11", f"head that ends in {tail!r}", get(b"X-A: b")[:-2] + tail + b"\r\n\r\n")


def nul() -> Iterator[Case]:
    good = get(b"X-A: b")
    for position in range(len(good) - 4):
        if good[position : position + 1] not in (b"\r", b"\n"):
            yield Case("F12", f"at {position}", good[:position] + b"\x00" + good[position + 1 :])
    for byte in CONTROLS:
        if byte != b"\x00":
            yield Case("F12", f"control {byte.hex()} in a value", get(b"X-A: a" + byte + b"b"))
            yield Case("F12", f"control {byte.hex()} in a name", get(b"X" + byte + b"A: b"))
            yield Case("F12", f"control {byte.hex()} in a target", get(target=b"/public/" + byte))


def lengths() -> Iterator[Case]:
    wrong = [
        "+5",
        "-0",
        "-1",
        "-5",
        "0x5",
        "5.0",
        "5e0",
        "1_0",
        "010",
        "05",
        "00",
        "000000000000000000000000000000",
        "18446744073709551616",
        "18446744073709551621",
        "5,",
        "5,5",
        "5,6",
        ",5",
        "5;5",
        "5x",
        "x5",
        "5h",
        '"5"',
        "'5'",
        "(5)",
        "5.",
        ".5",
        "5/1",
        "NaN",
        "Infinity",
        "inf",
        "1e1",
        "٥",
        "５",
        "5\\",
        "5%00",
        "%35",
        "=5",
        "5=",
        "5:",
        "five",
        "V",
        "0b1",
        "0o7",
        "&#53;",
        "5+0",
        "5*",
        "99999999999999999999999999",
    ]
    for value in [*wrong, "5 5", "0 1", "5\t5", "+ 5", "- 5", "5 ,5"]:
        yield Case("F14", f"value {value!r}", post(b"Content-Length: " + value.encode(), body=b"hello"))
    for byte in ODD_BYTES:
        for name, value in (("in front", byte + b"5"), ("behind", b"5" + byte), ("within", b"0" + byte + b"5")):
            yield Case("F14", f"{byte.hex()} {name}", post(b"Content-Length: " + value, body=b"hello"))
    for first in (b"5", b"0", b"", b"6"):
        for second in (b"5", b"0", b"", b"+5"):
            case = "F15" if not first or not second else "F13"
            lines = [b"Content-Length: " + first, b"Content-Length: " + second]
            yield Case(case, f"{first!r} and {second!r}", post(*lines, body=b"hello"))
    for value in (b"5, 5", b"5,5", b"0, 5", b"5, 0", b"5,", b",5", b"5,,5", b"5, 5, 5"):
        yield Case("F13", f"list {value!r}", post(b"Content-Length: " + value, body=b"hello"))


def chunk_sizes() -> Iterator[Case]:
    sizes = [
        "+5",
        "-5",
        "-0",
        "+0",
        "0x5",
        "0X5",
        "x5",
        "5x",
        "5h",
        "5_0",
        "Z",
        "g",
        "5.",
        "5.0",
        "5,0",
        "5:0",
        "#5",
        "$5",
        "%35",
        '"5"',
        "'5'",
        "(5)",
        "5=",
        "٥",
        "５",
        "ffffffffffffffff",
        "10000000000000000",
        "fffffffffffffffff",
        "123456789abcdef01",
    ]
    for size in [
        *sizes,
        " 5",
        "\t5",
        "5 ",
        "5\t",
        "5 5",
        "5 \t",
        "0 ",
        " 0",
        "",
        "\v5",
        "5\v",
        "5\f",
        "\x1c5",
        "5\x00",
        "5\x7f",
        "5\xa0",
    ]:
        yield Case("F16", f"size {size!r}", chunked(size.encode("utf-8") + b"\r\nhello\r\n" + LAST_CHUNK))
    yield Case("F16", "1000 zeros", chunked(b"0" * 1000 + b"\r\n\r\n"), 413)
    yield Case("F16", "16 zeros", chunked(b"0" * 16 + b"\r\n\r\n"))
    yield Case("F16", "no size at all", chunked(b"hello" + b"\r\n\r\n"))
    for good in (b"5", b"05", b"0000005", b"5;", b"5 ;x", b"5\t;x=y"):
        yield Case("F16", f"allowed {good!r}", chunked(good + b"\r\nhello\r\n" + LAST_CHUNK), 0)


def chunk_extensions() -> Iterator[Case]:
    for extension in (b"x\ny", b"x\rz", b"x\x00", b"\n", b"\r", b'x="\n"', b"x=\x0b", b"x=\x7f", b"x\r\r"):
        yield Case("F17", f"extension {extension!r}", chunked(b"5;" + extension + b"\r\nhello\r\n" + LAST_CHUNK))
    for allowed in (b"", b";", b"=", b'"', b'x="', b"x=y;z", b"\x80\xff", b" x = y "):
        yield Case("F17", f"dropped extension {allowed!r}", chunked(b"5;" + allowed + b"\r\nhello\r\n" + LAST_CHUNK), 0)
    yield Case("F17", "64 KiB of one extension", chunked(b"5;" + b"a" * 65536 + b"\r\nhello\r\n" + LAST_CHUNK), 413)
    many = b"".join(b"1;a=%d\r\nx\r\n" % (number % 10) for number in range(20_000))
    yield Case("F17", "20 000 small extensions", chunked(many + LAST_CHUNK), 413)


def chunk_line_ends() -> Iterator[Case]:
    ends = {"lf": b"\n", "cr": b"\r", "cr x": b"\rX", "cr cr": b"\r\r", "lf cr": b"\n\r", "cr cr lf": b"\r\r\n", "none": b""}
    for name, end in ends.items():
        for where, body in (
            ("TERM.EXT", b"5" + end + b";x\r\nhello\r\n" + LAST_CHUNK),
            ("EXT.TERM", b"5;x" + end + b"hello\r\n" + LAST_CHUNK),
            ("TERM.SPILL", b"5" + end + b"hello\r\n" + LAST_CHUNK),
            ("SPILL.TERM", b"5\r\nhello" + end + LAST_CHUNK),
            ("ONE.TWO", b"1" + end + b"a\r\n2\r\nbc\r\n" + LAST_CHUNK),
            ("TWO.ONE", b"2\r\nbc" + end + b"1\r\na\r\n" + LAST_CHUNK),
            ("ZERO.TWO", b"0" + end + b"\r\n2\r\nbc\r\n" + LAST_CHUNK),
            ("TWO.ZERO", b"2\r\nbc" + end + LAST_CHUNK),
        ):
            if (name, where) in {("none", "TERM.EXT"), ("none", "TWO.ONE"), ("cr", "TWO.ONE")}:
                continue  # CR LF stays, or there is nothing wrong with the line
            yield Case("F18", f"{where} {name}", chunked(body))


def unfinished_chunks() -> Iterator[Case]:
    for name, body in (
        ("no last chunk", b"5\r\nhello\r\n"),
        ("no final line end", b"5\r\nhello\r\n0\r\n"),
        ("half a final line end", b"5\r\nhello\r\n0\r\n\r"),
        ("data missing", b"5\r\nhel"),
        ("half a size", b"5"),
        ("nothing", b""),
        ("a trailer without an end", b"0\r\nX-A: b\r\n"),
    ):
        yield Case("F19", f"unfinished: {name}", chunked(body), -1)
    yield Case("F19", "unfinished: a length that is not met", post(b"Content-Length: 50", body=b"hello"), -1)


def trailers() -> Iterator[Case]:
    fields = (
        b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: evil.example", b"Authorization: Bearer evil",
        b"Cookie: a=evil",
        b"X-User: evil", b"X_User: evil", b"Connection: evil", b"Expect: 100-continue", b"Upgrade: evil",
        b"X-Forwarded-For: evil",
    )  # fmt: skip
    for field in fields:
        yield Case("F20", f"dropped {field.decode()!r}", chunked(b"3\r\nabc\r\n0\r\n" + field + b"\r\n\r\n"), 0)
        yield Case("H08", f"dropped {field.decode()!r} twice", chunked(b"3\r\nabc\r\n0\r\n" + (field + b"\r\n") * 2 + b"\r\n"), 0)
    for wrong in (b"X A: b", b"X-A : b", b": b", b"X-A", b" X-A: b", b"X-A: \x00", b"X-A: a\x0bb", b"X\x7fA: b", b"X-A: a\rb"):
        yield Case("F20", f"malformed {wrong!r}", chunked(b"0\r\n" + wrong + b"\r\n\r\n"))
    yield Case("F20", "20 KiB in one trailer", chunked(b"0\r\nX: " + b"a" * 20_000 + b"\r\n\r\n"), 413)
    yield Case("F20", "5 000 trailers", chunked(b"0\r\n" + b"X: a\r\n" * 5_000 + b"\r\n"), 431)


def versions() -> Iterator[Case]:
    wrong = (
        b"HTTP/0.9 HTTP/1.2 HTTP/1.9 HTTP/2.0 HTTP/2 HTTP/3 HTTP/01.1 HTTP/1.01 HTTP/1.32 HTTP/1.1.1 HTTP/11 HTTP/1 HTTP/ "
        b"HTTP http/1.1 "
        b"Http/1.1 HTTPS/1.1 HTTP\\1.1 HTTP/1,1 HTTP/1.1; HTTP/1.1x xHTTP/1.1 HTTP/-1.1 HTTP/1.+1 ICY/1.1 RTSP/1.0 "
        b"ICE/1.0 SIP/2.0"
    ).split()
    for version in wrong:
        yield Case("F22", f"version {version!r}", get(version=version))
    for line in (
        b"GET /public/",
        b"GET /public/ ",
        b"GET  /public/ HTTP/1.1",
        b"GET /public/  HTTP/1.1",
        b"GET /public/ HTTP/1.1 ",
    ):
        yield Case("F22", f"line {line!r}", line + b"\r\n" + HOST + b"\r\n")
    for line in (
        b"GET\t/public/\tHTTP/1.1",
        b"GET /public/ HTTP/1.1 HTTP/1.1",
        b"GET /public/ x HTTP/1.1",
        b" GET /public/ HTTP/1.1",
        b"GET",
    ):
        yield Case("F22", f"line {line!r}", line + b"\r\n" + HOST + b"\r\n")
    yield Case("F22", "a line without a version and nothing else", b"GET /public/\r\n\r\n")


def expectations() -> Iterator[Case]:
    for value in (
        b"x 100-continue",
        b"100-continue, x",
        b"100-Continue;a",
        b"200-ok",
        b"",
        b"100",
        b"100-continue 100-continue",
        b"\x0b100-continue",
    ):
        yield Case("F25", f"value {value!r}", post(b"Expect: " + value, b"Content-Length: 5", body=b"hello"))
    for first in (b"100-continue", b"x"):
        yield Case(
            "F25",
            f"twice, {first!r} first",
            post(b"Expect: " + first, b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"),
        )


def sizes() -> Iterator[Case]:
    yield Case("F31", "101 fields", get(*[b"X-%d: a" % number for number in range(100)]), 431)
    yield Case("F31", "100 fields", get(*[b"X-%d: a" % number for number in range(99)]), 0)
    yield Case("F31", "1 000 fields", get(*[b"X-%d: a" % number for number in range(1000)]), 431)
    yield Case("F31", "10 000 fields", get(*[b"X: a"] * 10_000), 431)
    yield Case("F31", "a field of 8 KiB", get(b"X: " + b"a" * 8192), 0)
    yield Case("F31", "a cookie of 64 KiB", get(b"Cookie: " + b"a" * 65536), 431)
    yield Case("F31", "a name of 33 KiB", get(b"a" * 33_000 + b": b"), 431)
    yield Case("F31", "a name of 8 KiB", get(b"a" * 8192 + b": b"), 0)
    yield Case("F31", "a value that never ends", get()[:-2] + b"X: " + b"a" * 65536, 431)
    yield Case("F31", "a method that never ends", b"A" * 65536, 431)
    yield Case("F31", "a target of 9 KiB", get(target=b"/public/" + b"a" * 9216), 414)
    yield Case("F31", "a target of 64 KiB", get(target=b"/public/" + b"a" * 65536), 431)
    yield Case("U11", "8 KiB of path", get(target=b"/public/" + b"a" * (8192 - 8)), 0)
    yield Case("U11", "8 KiB and one byte of path", get(target=b"/public/" + b"a" * (8192 - 7)), 414)
    yield Case("U11", "1 000 segments", get(target=b"/public" + b"/a" * 1000), 0)
    yield Case("U11", "5 000 segments", get(target=b"/public" + b"/a" * 5000), 414)
    yield Case(
        "U11",
        "10 000 pairs in the query",
        get(target=b"/public/?" + b"&".join(b"a%d=b" % number for number in range(10_000))),
        431,
    )
    yield Case(
        "U11", "1 000 pairs in the query", get(target=b"/public/?" + b"&".join(b"a%d=b" % number for number in range(1_000))), 0
    )


def methods() -> Iterator[Case]:
    for method in (
        b'G=":<>',
        b"get",
        b"Get",
        b"gET",
        b"G ET",
        b"GET\x0b",
        b"\x0bGET",
        b"G@T",
        b"GET/",
        b"*",
        b"1GET",
        b"G3T",
        b"GE\xc3\x89",
        b"(GET)",
    ):
        yield Case("F32", f"method {method!r}", get(method=method))
    for method in (b"FOO", b"GETS", b"XGET", b"POSTS", b"A" * 31, b"A" * 64, b"A" * 8000, b"PRI", b"HTTP", b"DEBUG", b"INVENTED"):
        yield Case("F32", f"unknown method {method[:20]!r}, {len(method)} long", get(method=method))
    for method in (
        b"GET",
        b"POST",
        b"PUT",
        b"PATCH",
        b"DELETE",
        b"OPTIONS",
        b"PROPFIND",
        b"REPORT",
        b"M-SEARCH",
        b"LINK",
        b"LOCK",
        b"MKCOL",
    ):
        yield Case("F32", f"known method {method!r}", get(method=method), 0)
    for method in (b"TRACE", b"TRACK"):
        for target in (b"/public/", b"/", b"*"):
            yield Case("F37", f"{method.decode()} {target.decode()}", get(b"Cookie: a=secret", method=method, target=target), 405)
    yield Case("F32", "64 KiB of method", get(method=b"A" * 65536), 431)
    yield Case("F32", "the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    hello = bytes.fromhex("16030100c0010000bc0303") + bytes(range(64))
    yield Case("F32", "a TLS hello", hello)
    yield Case("F32", "an SSL 2 hello", bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0"))
    yield Case("F32", "a PROXY line", b"PROXY TCP4 6.6.6.6 7.7.7.7 1 2\r\n" + get())
    yield Case("F32", "a PROXY line of its own", b"PROXY TCP4 6.6.6.6 7.7.7.7 1 2\r\n\r\n")
    yield Case("F32", "a PROXY v2 head", b"\r\n\r\n\x00\r\nQUIT\n!\x11\x00\x0c" + bytes(12) + get())
    yield Case("F32", "SSH", b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    yield Case("F32", "SMTP", b"EHLO evil.example\r\n\r\n")
    yield Case("F32", "JSON", b'{"a": 1}\r\n\r\n')
    yield Case("F32", "an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    yield Case("F32", "only line ends", b"\r\n\r\n\r\n\r\n")


def hosts() -> Iterator[Case]:
    wrong = (
        b"a,b shop.example, user@shop.example user:pass@shop.example shop.example/ shop.example/path shop.example?x "
        b"shop.example#x "
        b"shop.example\\x \\shop.example shop.example:99999 shop.example:65536 shop.example:-1 shop.example:+80 "
        b"shop.example:0x50 "
        b"shop.example:80:80 shop.example: shop.example:a [::1 ::1 [::1]] [::1]x [::1]:99999 [] [g] [::1%25eth0] shop.example. "
        b".shop.example shop..example .. . - -shop.example shop.example- _ http://shop.example shop%2eexample shop.example%00 "
        b'shop.example;x shop.example&x shop.example\'x "shop.example" <shop.example> shop.example| {shop} sh*p.example '
        b"*.example $HOST ~ !"
    ).split()
    for value in [
        *wrong,
        b"shop .example",
        b"shop.example evil.example",
        b"a b/../",
        b"shop\t.example",
        b"caf\xc3\xa9.example",
        b"\xff",
        b"a" * 256,
    ]:
        yield Case("F33", f"host {value[:40]!r}", get().replace(HOST, b"Host: " + value + b"\r\n"))
    for byte in CONTROLS:
        yield Case("F33", f"host with {byte.hex()}", get().replace(HOST, b"Host: shop" + byte + b".example\r\n"))
    for good in (
        b"SHOP.example",
        b"localhost",
        b"127.0.0.1:80",
        b"[::1]",
        b"[::1]:65535",
        b"a_b.example",
        b"xn--caf-dma.example",
        b"shop.example:0",
    ):
        yield Case("F33", f"good host {good!r}", get().replace(HOST, b"Host: " + good + b"\r\n"), 0)


def targets() -> Iterator[Case]:
    absolute = (
        b"http://shop.example/public/ http://evil.example/public/ HTTP://shop.example/public/ https://shop.example:443/public/ "
        b"http://user@shop.example/ http://[::1]/public/ http:///public/ http:/public/ http:public ftp://evil.example/ "
        b"file:///etc/passwd "
        b"javascript:x data:,x unix:/run/x ws://shop.example/public/ //"
    ).split()
    for target in absolute[:-1]:
        yield Case("F34", f"target {target.decode()!r}", get(target=target))
    for target in (
        b"*",
        b"shop.example",
        b"shop.example:443",
        b"127.0.0.1:80",
        b"[::1]:443",
        b"public",
        b"./public/",
        b"../public",
        b"?x",
        b"#",
        b"\\public",
        b"%2fpublic/",
    ):
        for method in (b"GET", b"OPTIONS", b"POST"):
            yield Case("F35", f"{method.decode()} {target.decode()!r}", get(target=target, method=method))
    for target in (b"shop.example:443", b"/", b"*", b"/public/", b"http://shop.example/"):
        yield Case("F35", f"CONNECT {target.decode()!r}", get(target=target, method=b"CONNECT"), 405)
        yield Case(
            "F36",
            f"CONNECT {target.decode()!r} with a length",
            get(b"Content-Length: 5", target=target, method=b"CONNECT") + b"hello",
            405,
        )
        yield Case(
            "F36",
            f"CONNECT {target.decode()!r} with chunks",
            get(b"Transfer-Encoding: chunked", target=target, method=b"CONNECT") + LAST_CHUNK,
            405,
        )


def paths() -> Iterator[Case]:
    for case, refused in PATHS_REFUSED.items():
        for path in refused:
            yield Case(case, f"path {path!r}", get(target=path))


PATHS_REFUSED: dict[str, list[bytes]] = {
    "U01": (
        b"/public/../admin /public/.. /public/. /public/./admin /.. /. /../admin /./admin /public/%2e%2e/admin "
        b"/public/%2E%2E/admin /public/.%2e/admin "
        b"/public/%2e./admin /public/%2e/admin /%2e%2e/%2e%2e/etc/passwd /public/../../admin /public//../admin "
        b"/public/%2e%2e /public/x/../../admin "
        b"/public/..?x /public/../ /public/%2e%2e/ /public/..//admin"
    ).split(),
    "U02": (
        b"/public/..%2fadmin /public/..%2Fadmin /public%2fadmin /public%2f..%2fadmin /public/..%5cadmin "
        b"/public/..%5Cadmin /public%5cadmin /public\\admin "
        b"/public/..\\admin \\admin /public/%2f /%2fadmin /%2Fadmin /%5cadmin /a%2Fb /public/%2e%2e%2fadmin "
        b"/public/%2e%2e%5cadmin /public/\\..\\admin"
    ).split(),
    "U03": (
        b"/public/;/admin /;/admin /public/;x=1/admin /public;x=1/../admin /public/..;/admin /..;/admin /.;/admin "
        b"/public/.;x/admin /public/;/../admin "
        b"/public/%2e%2e;/admin /public/%2e;/admin /public/..;a=b/admin /public/; /public/;x /..; /.; /; "
        b"/public/..%3b/admin /public/%2e%2e%3Bx/admin /public/%3b/admin /public/.%3b"
    ).split(),
    "U05": (
        b"/public/%c0%ae%c0%ae/admin /public/%c0%af /public/%c1%9c /public/%e0%80%ae/admin /public/%e0%80%af "
        b"/public/%f0%80%80%ae /public/%u002e%u002e/admin "
        b"/public/%u002f /public/%ff /public/%80 /public/%c3 /public/%ed%a0%80 /public/%f4%90%80%80 /public/%fe "
        b"/public/%c3%28 /public/%g0 /public/% /public/%2 "
        b"/public/%%32%65 /public/%%2e /public/%2%65 /public/%zz /public/%-1 /public/%+1 /public/%0"
    ).split(),
    "U06": [
        b"/public/admin%00", b"/public/%00", b"/public/%00/admin", b"/admin%00.html", b"/public/%0d%0aX-User:%20evil",
        b"/public/%0a", b"/public/%0A", b"/public/%0d",
        b"/public/%09", b"/public/%1f", b"/public/%7f", b"/public/%0b", b"/public/%08", b"/public/%1b",
        b"/public/x%0d%0a%0d%0aGET%20/admin",
    ],
    "U07": [
        b"/public#/../admin", b"/public/#", b"/admin#", b"/public/#/admin", b"/public/?#x", b"/public/?x=#", b"#", b"/#",
        b"/public/x#y?z",
    ],
    "U10": [
        b"/public/\xc3\xa9", b"/public/\xff", b"/public/\x80", b"/public/?\xc3\xa9", b"/\xe2\x80\xae",
        b"/public/\xef\xbc\x8e\xef\xbc\x8e/admin", b"/public/\xa0", b"/public/\xad",
        b'/public/"x"', b"/public/<x>", b"/public/\x7f", b"/public/\x01", b"/public/\x0b", b"/public/\t",
    ],
}  # fmt: skip


def upgrades() -> Iterator[Case]:
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    ask = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", key)
    inner = get(target=b"/public/smuggled")
    for name, raw in (
        ("a length", get(*ask, b"Content-Length: %d" % len(inner)) + inner),
        ("chunks", get(*ask, b"Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(inner), inner) + LAST_CHUNK),
        ("a length that is not met", get(*ask, b"Content-Length: 5000") + inner),
        (
            "another upgrade with a length",
            get(b"Connection: Upgrade", b"Upgrade: foo", b"Content-Length: %d" % len(inner)) + inner,
        ),
    ):
        yield Case("W01", f"a handshake with {name}", raw)
    yield Case("W06", "post", get(*ask, method=b"POST"))
    yield Case("W06", "put", get(*ask, method=b"PUT"))
    yield Case("W06", "no key", get(*ask[:3]))
    yield Case("W06", "an empty key", get(*ask[:3], b"Sec-WebSocket-Key:"))
    yield Case("W06", "two keys", get(*ask, key))
    yield Case("W06", "two different keys", get(*ask, b"Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA=="))
    yield Case("W06", "an alias of upgrade", get(*ask, b"Up_grade: websocket", b"Upgrade_: x"))


def connection_options() -> Iterator[Case]:
    for name in (b"Content-Length", b"content-length", b"Transfer-Encoding", b"TRANSFER-ENCODING", b"Host", b"host"):
        for options in (name, b"close, " + name, name + b", close", b"keep-alive, " + name, b" \t" + name + b"\t", b"x,," + name):
            yield Case(
                "H06", f"Connection: {options.decode()!r}", post(b"Connection: " + options, b"Content-Length: 5", body=b"hello")
            )
        yield Case(
            "H06",
            f"two fields, {name.decode()}",
            post(b"Connection: close", b"Connection: " + name, b"Content-Length: 5", body=b"hello"),
        )
    for field in (b"Connection : X-User", b"Connection\t: close", b" Connection: X-User"):
        yield Case("H07", f"{field!r}", get(field))
