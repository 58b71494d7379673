"""Public data sets: the order of sources, checksums, the cache, and that both copies of MovieLens read alike."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import urllib.error
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import recloom.data.public as public
from recloom.data.movielens import split_title
from recloom.data.public import DataUnavailable, PublicData, SourceError, available, get
from recloom.errors import InputError

INTER = "recbole/dataset_example/ml-100k/ml-100k.inter"
ITEM = "recbole/dataset_example/ml-100k/ml-100k.item"

RATINGS = "196\t242\t3\t881250949\n12\t203\t5\t879959583\n196\t7\t1\t881250949\n"
GENRES = ["unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"]
GENRES += ["Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"]
FILMS = [  # (item, GroupLens's title, RecBole's title, RecBole's year, genres)
    (7, "Twelve Monkeys (1995)", "Twelve Monkeys", "1995", ["Drama", "Sci-Fi"]),
    (203, "Misérables, Les (1995)", "Misérables, Les", "1995", ["Drama", "Musical"]),
    (242, '"Quoted" Day, The (Jour, Le) (1996)', '"Quoted" Day, The (Jour, Le)', "1996", ["Comedy"]),
    (267, "unknown", "unkonwn", "unkonwn", ["unknown"]),
    (1412, "Land III: The Giving (1995) (V)", "Land III: The Giving (1995)", "V", ["Animation", "Children's"]),
]


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)  # the same bytes at any time
    return buffer.getvalue()


def grouplens_archive(ratings: str = RATINGS) -> bytes:
    lines = []
    for item, title, _, _, genres in FILMS:
        flags = "|".join(str(int(genre in genres)) for genre in GENRES)
        lines.append(f"{item}|{title}|01-Jan-1995||http://us.imdb.com/x|{flags}")
    members = {
        "ml-100k/u.data": ratings.encode(),
        "ml-100k/u.item": ("\n".join(lines) + "\n").encode("latin-1"),
        "ml-100k/u.genre": ("\n".join(f"{genre}|{n}" for n, genre in enumerate(GENRES)) + "\n\n").encode(),
    }
    return zipped(members)


def recbole_members() -> dict[str, bytes]:
    rows = [f"{item}\t{title}\t{year}\t{' '.join(genres)}" for item, _, title, year, genres in FILMS]
    head = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    return {
        INTER: b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + RATINGS.encode(),
        ITEM: (head + "\n".join(rows) + "\n").encode(),
    }


def recbole_wheel() -> bytes:
    return zipped(recbole_members())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> PublicData:
    """The registered `ml-100k` with the checksums of the small archives above."""
    official, wheel = public.PUBLIC["ml-100k"].sources
    sums = {name: "sha256:" + hashlib.sha256(content).hexdigest() for name, content in recbole_members().items()}
    sources = (
        replace(official, checksum="md5:" + hashlib.md5(grouplens_archive()).hexdigest()),
        replace(wheel, members=sums),
    )
    data = replace(public.PUBLIC["ml-100k"], sources=sources)
    monkeypatch.setitem(public.PUBLIC, "ml-100k", data)
    return data


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Answer the two ways of fetching with given bytes (None: not reachable); returns the list of calls made."""

    def answers(official: bytes | None, wheel: bytes | None) -> list[str]:
        calls: list[str] = []

        def answer(name: str, content: bytes | None) -> Callable[[str], bytes]:
            def fetch(address: str) -> bytes:
                calls.append(address)
                if content is None:
                    raise SourceError(f"{name} is not reachable")
                return content

            return fetch

        monkeypatch.setattr(public, "download", answer("the server", official))
        monkeypatch.setattr(public, "pip_download", answer("the index", wheel))
        return calls

    return answers


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_both_sources_give_the_same_frames(small: PublicData, serve: Callable[..., list[str]], tmp_path: Path) -> None:
    serve(grouplens_archive(), None)
    official = get("ml-100k", cache=tmp_path / "a")
    serve(None, recbole_wheel())
    wheel = get("ml-100k", cache=tmp_path / "b")
    assert (official.source, wheel.source) == ("GroupLens", "the recbole 1.2.1 wheel")
    assert official.log.equals(wheel.log) and official.log.schema == wheel.log.schema
    assert official.items.equals(wheel.items) and official.items.schema == wheel.items.schema
    assert official.log.rows()[0] == (196, 242, 3, 881250949)
    assert official.log.schema == dict.fromkeys(["user_id", "item_id", "rating", "timestamp"], pl.Int64)
    assert official.items.rows() == [
        (7, "Twelve Monkeys", ["Drama", "Sci-Fi"], 1995),
        (203, "Les Misérables", ["Drama", "Musical"], 1995),
        (242, 'The "Quoted" Day (Le Jour)', ["Comedy"], 1996),
        (267, "unknown", ["unknown"], None),
        (1412, "Land III: The Giving", ["Animation", "Children's"], 1995),
    ]
    assert official.notes == [] and "Harper" in official.terms


def test_sources_are_tried_in_order_and_failures_are_told(
    small: PublicData, serve: Callable[..., list[str]], tmp_path: Path
) -> None:
    calls = serve(None, recbole_wheel())
    said: list[str] = []
    frames = get("ml-100k", cache=tmp_path, progress=said.append)
    assert calls == ["https://files.grouplens.org/datasets/movielens/ml-100k.zip", "recbole==1.2.1"]
    assert frames.notes == ["ml-100k: GroupLens failed: the server is not reachable"]
    assert set(frames.notes) < set(said) and "ml-100k: trying GroupLens" in said


def test_the_cache_answers_without_a_network(
    small: PublicData, serve: Callable[..., list[str]], tmp_path: Path
) -> None:
    serve(None, recbole_wheel())
    first = get("ml-100k", cache=tmp_path)
    assert files(tmp_path) == ["recbole-1.2.1.whl"]
    calls = serve(None, None)
    again = get("ml-100k", cache=tmp_path)
    assert calls == [] and again.notes == []
    assert again.log.equals(first.log) and again.source == first.source


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:60] + b"?" + b[61:]])
def test_a_damaged_cache_is_fetched_again(
    small: PublicData, serve: Callable[..., list[str]], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    serve(None, recbole_wheel())
    get("ml-100k", cache=tmp_path)
    kept = tmp_path / "ml-100k" / "recbole-1.2.1.whl"
    kept.write_bytes(damage(kept.read_bytes()))
    calls = serve(None, recbole_wheel())
    frames = get("ml-100k", cache=tmp_path)
    assert len(calls) == 2 and "fetched again" in frames.notes[0]
    assert kept.read_bytes() == recbole_wheel()


@pytest.mark.parametrize("wrong", [b"<html>Please log in</html>", zipped({"ml-100k/u.data": b"1\t2\t3\t4\n"})])
def test_wrong_content_is_never_used_nor_kept(
    small: PublicData, serve: Callable[..., list[str]], tmp_path: Path, wrong: bytes
) -> None:
    serve(wrong, wrong)
    with pytest.raises(DataUnavailable, match=r"GroupLens failed: ml-100k\.zip has a wrong checksum") as caught:
        get("ml-100k", cache=tmp_path)
    assert "simulated" in str(caught.value) and isinstance(caught.value, InputError)
    assert files(tmp_path) == []


def test_members_with_another_content_are_refused(
    small: PublicData, serve: Callable[..., list[str]], tmp_path: Path
) -> None:
    changed = {**recbole_members(), INTER: recbole_members()[INTER].replace(b"196", b"197")}
    serve(None, zipped(changed))
    with pytest.raises(DataUnavailable, match=r"ml-100k\.inter has a wrong checksum"):
        get("ml-100k", cache=tmp_path)


def test_a_file_that_cannot_be_read_moves_on_to_the_next_source(
    small: PublicData, serve: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = grouplens_archive(ratings="196\tmany\t3\t881250949\n")
    official, wheel = small.sources
    sources = (replace(official, checksum="md5:" + hashlib.md5(broken).hexdigest()), wheel)
    monkeypatch.setitem(public.PUBLIC, "ml-100k", replace(small, sources=sources))
    serve(broken, recbole_wheel())
    frames = get("ml-100k", cache=tmp_path)
    assert frames.source == "the recbole 1.2.1 wheel" and "could not be read" in frames.notes[0]
    assert files(tmp_path) == ["recbole-1.2.1.whl"]


def test_nothing_reachable_says_so(small: PublicData, serve: Callable[..., list[str]], tmp_path: Path) -> None:
    serve(None, None)
    with pytest.raises(DataUnavailable, match=r"the server is not reachable(.|\n)*the index is not reachable"):
        get("ml-100k", cache=tmp_path)
    assert files(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_only_noted(
    small: PublicData, serve: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    serve(None, recbole_wheel())
    frames = get("ml-100k", cache=tmp_path / "file")
    assert frames.log.height == 3 and "not kept in the cache" in frames.notes[-1]


def test_the_cache_folder_follows_the_xdg_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert public.default_cache() == tmp_path / "recloom"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/somewhere")
    assert public.default_cache() == Path("/somewhere/.cache/recloom")


def test_download_reads_a_url_and_says_why_it_could_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"x" * 100_000)
    assert public.download((tmp_path / "a.zip").as_uri()) == b"x" * 100_000
    with pytest.raises(SourceError, match="not reachable"):
        public.download((tmp_path / "none.zip").as_uri())
    monkeypatch.setattr(public, "LARGEST", 1000)
    with pytest.raises(SourceError, match="gave up after"):
        public.download((tmp_path / "a.zip").as_uri())

    def refuse(url: str, timeout: float) -> None:
        assert timeout <= 10
        raise urllib.error.HTTPError(url, 404, "Not Found", None, None)  # type: ignore[arg-type]

    monkeypatch.setattr(public.urllib.request, "urlopen", refuse)
    with pytest.raises(SourceError, match="404 Not Found"):
        public.download("https://files.grouplens.org/datasets/movielens/ml-100k.zip")


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(url: str, timeout: float) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(public.urllib.request, "urlopen", silent)
    with pytest.raises(SourceError, match="timed out"):
        public.download("https://example.org/a.zip")


def test_pip_download_uses_the_index_the_user_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    about = "Metadata-Version: 2.1\nName: tinywheel\nVersion: 1.0\nRequires-Dist: not-to-be-fetched\n"
    wheel = zipped(
        {
            "tinywheel.py": b"",
            "tinywheel-1.0.dist-info/METADATA": about.encode(),
            "tinywheel-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "tinywheel-1.0.dist-info/RECORD": b"",
        }
    )
    (tmp_path / "tinywheel-1.0-py3-none-any.whl").write_bytes(wheel)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert public.pip_download("tinywheel==1.0") == wheel
    with pytest.raises(SourceError, match=r"pip download failed .*tinywheel==2\.0"):
        public.pip_download("tinywheel==2.0")


def test_pip_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(public.subprocess, "run", hang)
    with pytest.raises(SourceError, match="pip did not finish"):
        public.pip_download("recbole==1.2.1")


def test_without_pip_the_source_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match="pip is not installed"):
        public.pip_download("recbole==1.2.1")


@pytest.mark.parametrize(
    ("written", "plain", "year"),
    [
        ("Toy Story (1995)", "Toy Story", 1995),
        ("Godfather: Part II, The", "The Godfather: Part II", None),
        ("Good, The Bad and The Ugly, The (1966)", "The Good, The Bad and The Ugly", 1966),
        ("Bye Bye, Love (1995)", "Bye Bye, Love", 1995),
        ("Enfer, L' (1994)", "L'Enfer", 1994),
        ("American in Paris, An", "An American in Paris", None),
        ("Die xue shuang xiong (Killer, The) (1989)", "Die xue shuang xiong (The Killer)", 1989),
        ("1984", "1984", None),
        ("Marlene  Dietrich (1996) ", "Marlene Dietrich", 1996),
    ],
)
def test_titles_read_as_people_write_them(written: str, plain: str, year: int | None) -> None:
    assert split_title(written) == (plain, year)


def test_the_simulated_shop_is_a_data_set() -> None:
    assert [data.name for data in available()] == ["ml-100k", "simulated"]
    frames = get("simulated")
    assert frames.log.columns == ["user_id", "item_id", "timestamp"] and frames.log["user_id"].n_unique() == 2000
    assert frames.items.columns == ["item_id", "title", "attributes"] and frames.items.height == 400


def test_an_unknown_name_is_refused_with_the_choices() -> None:
    with pytest.raises(InputError, match="no public data set is called 'netflix'; there are: ml-100k, simulated"):
        get("netflix")


def test_the_wheel_holds_the_real_movielens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = Path(os.environ.get("RECLOOM_DATA", "")) / "ml-100k"
    if "RECLOOM_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("RECLOOM_DATA names no folder with ml-100k")
    data = public.PUBLIC["ml-100k"]
    monkeypatch.setitem(public.PUBLIC, "ml-100k", replace(data, sources=data.sources[1:]))
    try:
        frames = get("ml-100k", cache=tmp_path)
    except DataUnavailable as error:
        if "wrong checksum" in str(error):
            raise
        pytest.skip(f"no package index in reach: {error}")
    assert frames.log["user_id"].n_unique() == 943 and frames.items.height == 1682
    expected = pl.read_parquet(folder / "interactions.parquet").select(frames.log.columns).cast(pl.Int64)
    assert frames.log.sort("user_id", "timestamp", maintain_order=True).equals(expected)
    items = pl.read_parquet(folder / "items.parquet").sort("item_id")
    assert frames.items["attributes"].to_list() == items["attributes"].to_list()
    assert frames.items["title"].to_list() == [split_title(title)[0] for title in items["title"]]
    known = items["release_year"].is_not_null()
    assert known.sum() == 1680
    assert frames.items.filter(known)["release_year"].to_list() == items.filter(known)["release_year"].to_list()
