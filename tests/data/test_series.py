"""Series: small files read by hand, the known counts and ends of the real ones, and what is refused."""

import io
import os
import zipfile

import numpy as np
import pytest

import minipc as pc
from minipc.data import series

needs_files = pytest.mark.skipif("MINIPC_DATA" not in os.environ, reason="MINIPC_DATA names no folder")
RULE = "-" * 79
TABLE = f"""   MONTHLY MEANS
====
Year    Jan   Feb   Mar   Apr   May   Jun   Jul   Aug   Sep   Oct   Nov   Dec
{RULE}
1749    58.0  62.6  70.0  55.7  85.0  83.5  94.8  66.3  75.9  75.5 158.6  85.2

1750    73.3  75.9  89.2
{RULE}
A note of 1824.
"""
YEAR = ",".join(f"{i}.5" for i in range(12))
MONTHS = '"YEAR","JAN","FEB","MAR","APR","MAY","JUN","JUL","AUG","SEP","OCT","NOV","DEC"\n'


def days(text):
    """The reader of the carbon dioxide."""
    return series.read_column(text.encode(), "f.csv", ("date", "co2"), "D", 7)


def years(text):
    """The reader of the Nile."""
    return series.read_column(text.encode(), "f.csv", ("year", "volume"), "Y", 1)


def table(text):
    """The reader of the monthly sunspots."""
    return series.read_month_table(text.encode(), "f.dat")


def columns(text):
    """The reader of the temperatures."""
    return series.read_month_columns(text.encode(), "f.csv")


def npz(**arrays):
    """An npz file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def zipped(key, data):
    """A zip file with one member."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(key, data)
    return file.getvalue()


def flights(**changed):
    """Two flights as in the benchmark, some arrays replaced; None: left out."""
    arrays = {}
    for key in ("train/square_run1", "train/square_run4", "test/melon_run1"):
        arrays |= {f"{key}/x": np.ones((5, 13), "f4"), f"{key}/u": np.full((5, 4), 2, "f4")}
    arrays |= changed
    data = npz(**{key: value for key, value in arrays.items() if value is not None})
    return series.read_flights(data, "f.npz")


def test_a_column_of_weeks_with_a_blank():
    """Days are dates, a blank is NaN; CRLF ends a line as well as LF."""
    text = "date,co2\n19580329,316.1\n19580405,\n19580412,317.6\n"
    for given in (text, text.replace("\n", "\r\n")):
        time, values = days(given)
        assert time.tolist() == np.array(["1958-03-29", "1958-04-05", "1958-04-12"], "M8[D]").tolist()
        assert time.dtype == "M8[D]"
        np.testing.assert_array_equal(values, [316.1, np.nan, 317.6])
        assert values.dtype == np.float64


def test_a_column_of_years():
    """Years are dates of years."""
    time, values = years("year,volume\n1871,1120\n1872,1160\n")
    assert time.dtype == "M8[Y]"
    assert time.astype(int).tolist() == [1871 - 1970, 1872 - 1970]
    assert values.tolist() == [1120, 1160]


def test_a_table_of_months():
    """From the first year to the month where the last year ends; blank lines and notes are passed over."""
    for given in (TABLE, TABLE.replace("\n", "\r\n")):
        time, values = table(given)
        assert time.dtype == "M8[M]"
        assert (str(time[0]), str(time[11]), str(time[-1]), len(time)) == (
            "1749-01",
            "1749-12",
            "1750-03",
            15,
        )
        assert values[[0, 10, 11, 12, 14]].tolist() == [58.0, 158.6, 85.2, 73.3, 89.2]


def test_columns_of_months():
    """Row after row."""
    time, values = columns(f"{MONTHS}1950,{YEAR}\n1951,{YEAR.replace('3.5', '')}\n")
    assert (str(time[0]), str(time[-1]), len(time)) == ("1950-01", "1951-12", 24)
    np.testing.assert_array_equal(values[:12], np.arange(12) + 0.5)
    assert np.flatnonzero(np.isnan(values)).tolist() == [15]


def test_the_ecg_is_in_millivolts():
    """Step 1024 is zero, 200 steps are a millivolt, 360 samples a second; a step below zero does not wrap."""
    time, values = series.read_ecg(npz(ecg=np.array([1024, 1224, 1023], np.uint16)), "f.npz")
    np.testing.assert_allclose(time, [0, 1 / 360, 2 / 360], rtol=1e-15)
    np.testing.assert_allclose(values, [0, 1, -0.005], rtol=1e-15)


def test_flights_go_to_their_parts():
    """Run 4 of the training flights validates; other arrays of a flight are passed over."""
    found = flights(**{"train/square_run1/acc": np.ones((5, 3)), "test/melon_run4/x": np.ones((2, 13), "f4"),
                       "test/melon_run4/u": np.ones((2, 4), "f4")})  # fmt: skip
    assert [list(part) for part in found[:3]] == [
        ["square_run1"],
        ["square_run4"],
        ["melon_run1", "melon_run4"],
    ]
    x, u = found.train["square_run1"]
    assert (x.shape, u.shape, x.dtype, u.dtype) == ((5, 13), (5, 4), np.float32, np.float32)
    assert (x == 1).all()
    assert (u == 2).all()
    assert len(found.states) == 13
    assert len(found.inputs) == 4


def test_the_loaders_read_their_files(monkeypatch):
    """Each name has its file, its way to be read and its unit; filtered or not are two files."""
    tiny = {
        "sunspots": b"YEAR,SUNACTIVITY\n1700,5\n",
        "sunspots_monthly": TABLE.encode(),
        "co2": b"date,co2\n19580329,316.1\n19580405,\n",
        "elnino": f"{MONTHS}1950,{YEAR}\n".encode(),
        "nile": b"year,volume\n1871,1120\n1872,1160\n",
        "ecg": npz(ecg=np.array([1224], np.uint16)),
    }
    files = {series.SERIES[name]: data for name, data in tiny.items()}
    for filtered in (True, False):
        x, u = np.full((2, 13), filtered, "f4"), np.ones((2, 4), "f4")
        files[series.NANODRONE[filtered]] = npz(**{"test/melon_run1/x": x, "test/melon_run1/u": u})
    monkeypatch.setattr(series, "content", files.get)
    found = {name: pc.data.timeseries(name) for name in tiny}
    assert {name: (len(s.time), s.values[0], s.unit) for name, s in found.items()} == {
        "sunspots": (1, 5.0, "sunspot number"),
        "sunspots_monthly": (15, 58.0, "sunspot number"),
        "co2": (2, 316.1, "ppmv"),
        "elnino": (12, 0.5, "deg C"),
        "nile": (2, 1120.0, "1e8 m^3"),
        "ecg": (1, 1.0, "mV"),
    }
    for filtered in (True, False):
        flights = pc.data.nanodrone(filtered)
        assert (flights.test["melon_run1"].x == filtered).all()
        assert flights.dt == 0.01
        assert "not bit-identical" in flights.note
    assert pc.data.nanodrone().test["melon_run1"].x[0, 0] == 1  # filtered unless told otherwise


X = "train/square_run1/x"
REFUSED = {
    "column empty": (lambda: years(""), "f.csv, line 1: .* has no end"),
    "column cut": (lambda: years("year,volume\n1871,11"), "f.csv, line 2: .* cut"),
    "column header": (
        lambda: years("date,co2\n1871,1\n"),
        "f.csv, line 1: the header must be year,volume, got date",
    ),
    "column without rows": (lambda: years("year,volume\n"), "f.csv: has no rows"),
    "column blank line": (
        lambda: years("year,volume\n1871,1\n\n1872,1\n"),
        "line 3: must have 2 fields, got 0",
    ),
    "column three fields": (lambda: years("year,volume\n1871,1,1\n"), "line 2: must have 2 fields, got 3"),
    "column no number": (lambda: years("year,volume\n1871,much\n"), "line 2: a value must be .* got 'much'"),
    "column infinite": (lambda: years("year,volume\n1871,inf\n"), "line 2: a value must be .* got 'inf'"),
    "column NaN": (lambda: years("year,volume\n1871,nan\n"), "line 2: a value must be .* got 'nan'"),
    "column no year": (lambda: years("year,volume\n187,1\n"), "line 2: time must be a year .* got '187'"),
    "column a year is missing": (
        lambda: years("year,volume\n1871,1\n1873,1\n"),
        "line 3: 1873 must come 1Y after 1871",
    ),
    "column no day": (lambda: days("date,co2\n19580230,1\n"), "line 2: time must be a day .* got '19580230'"),
    "column a week is missing": (
        lambda: days("date,co2\n19580329,1\n19580412,1\n"),
        "line 3: 19580412 must come 7D after 1958-03-29",
    ),
    "column no UTF-8": (
        lambda: series.read_column(b"year,volume\n1871,\xff\n", "f.csv", ("year", "volume"), "Y", 1),
        "f.csv, line 2: must be UTF-8",
    ),
    "table without rules": (lambda: table(TABLE.replace(RULE, "")), "f.dat, .*between two lines of dashes"),
    "table cut after a row": (lambda: table(TABLE[: TABLE.rindex(RULE)]), "f.dat, .*between two lines .*cut"),
    "table without rows": (lambda: table(f"{RULE}\n{RULE}\n"), "f.dat: has no rows"),
    "table a month is missing": (
        lambda: table(TABLE.replace("  62.6", "")),
        "f.dat, line 5: .* 12 months, got 11",
    ),
    "table a month too many": (lambda: table(TABLE.replace("  85.2", "  85.2  1.0")), "line 5: .* got 13"),
    "table a year is missing": (
        lambda: table(TABLE.replace("1750", "1751")),
        "line 7: 1751 must come 1Y after 1749",
    ),
    "table no year": (
        lambda: table(TABLE.replace("1750", "MDCCL")),
        "line 7: time must be a year .* 'MDCCL'",
    ),
    "table no number": (lambda: table(TABLE.replace("62.6", "62,6")), "line 5: a value must be .* '62,6'"),
    "columns header": (lambda: columns(f"1950,{YEAR}\n"), "line 1: the header must be YEAR,JAN"),
    "columns a month is missing": (
        lambda: columns(f"{MONTHS}1950,{YEAR[4:]}\n"),
        "f.csv, line 2: must have 13 fields, got 12",
    ),
    "columns without rows": (lambda: columns(MONTHS), "f.csv: has no rows"),
    "ecg no npz": (
        lambda: series.read_ecg(b"0123456789", "f.npz"),
        "f.npz: must be an npz file, got the bytes 3031",
    ),
    "ecg empty": (lambda: series.read_ecg(b"", "f.npz"), "f.npz: must be an npz file"),
    "ecg cut": (
        lambda: series.read_ecg(npz(ecg=np.ones(9, "u2"))[:-30], "f.npz"),
        "f.npz: no complete npz file",
    ),
    "ecg another name": (
        lambda: series.read_ecg(npz(ekg=np.ones(9, "u2")), "f.npz"),
        "ecg must be .* got nothing",
    ),
    "ecg floats": (lambda: series.read_ecg(npz(ecg=np.ones(9)), "f.npz"), r"ecg must be .* float64 \(9,\)"),
    "ecg no array": (
        lambda: series.read_ecg(zipped("ecg", b"1,2"), "f.npz"),
        "ecg must be .* unsigned integers, got .S",
    ),
    "ecg two axes": (
        lambda: series.read_ecg(npz(ecg=np.ones((9, 2), "u2")), "f.npz"),
        r"ecg must be .* uint16 \(9, 2\)",
    ),
    "ecg a pickle": (
        lambda: series.read_ecg(npz(ecg=np.array([None])), "f.npz"),
        "f.npz: no .* allow_pickle=False",
    ),
    "flights another key": (lambda: flights(other=np.ones(3)), "f.npz: a key must be as .* got 'other'"),
    "flights another part": (lambda: flights(**{"valid/a_run1/x": np.ones(3)}), "f.npz: a key must be as"),
    "flights x is missing": (lambda: flights(**{X: None}), f"f.npz: {X} is missing"),
    "flights u is missing": (lambda: flights(**{"test/melon_run1/u": None}), "test/melon_run1/u is missing"),
    "flights 12 states": (
        lambda: flights(**{X: np.ones((5, 12))}),
        rf"{X} must be floats \(N, 13\), .*\(5, 12\)",
    ),
    "flights one axis": (lambda: flights(**{X: np.ones(13)}), rf"{X} must be floats \(N, 13\), .*\(13,\)"),
    "flights integers": (lambda: flights(**{X: np.ones((5, 13), int)}), f"{X} must be floats .* int64"),
    "flights NaN": (lambda: flights(**{X: np.full((5, 13), np.nan)}), f"{X} must be finite"),
    "flights longer x": (lambda: flights(**{X: np.ones((6, 13))}), "as many x as u, got 6 and 5"),
    "name": (
        lambda: pc.data.timeseries("moon"),
        "name must be one of sunspots, sunspots_monthly, .*; got 'moon'",
    ),
    "name None": (lambda: pc.data.timeseries(None), "name must be one of .*; got None"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_as_it_should_be_is_refused(case):
    """The message names the file and the line or key."""
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("value", [1, "yes", None])
def test_filtered_is_a_word_of_yes_or_no(value):
    """1 is no True."""
    with pytest.raises(TypeError, match="filtered must be True or False, got"):
        pc.data.nanodrone(value)


def test_without_the_flights_the_error_says_where_the_benchmark_lives(tmp_path, monkeypatch):
    """There is no public origin of the files that minipc reads."""
    monkeypatch.setenv("MINIPC_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"idsia-robotics/nanodrone-sysid-benchmark .*not bit-identical"
    ):
        pc.data.nanodrone()


# name: number, first and last moment and value, unit, blanks: the source's descriptions and the ends of its files
KNOWN = {
    "sunspots": (309, "1700", 5.0, "2008", 2.9, "sunspot number", 0),
    "sunspots_monthly": (3126, "1749-01", 58.0, "2009-06", 2.6, "sunspot number", 0),
    "co2": (2284, "1958-03-29", 316.1, "2001-12-29", 371.5, "ppmv", 59),
    "elnino": (61 * 12, "1950-01", 23.11, "2010-12", 22.07, "deg C", 0),
    "nile": (100, "1871", 1120.0, "1970", 740.0, "1e8 m^3", 0),
}


@needs_files
@pytest.mark.parametrize("name", KNOWN)
def test_the_series_are_the_known_ones(name):
    """Number, both ends, unit, blanks; time steps are equal."""
    number, start, first, end, last, unit, blanks = KNOWN[name]
    found = pc.data.timeseries(name)
    assert found.time.shape == found.values.shape == (number,)
    assert (str(found.time[0]), found.values[0], str(found.time[-1]), found.values[-1]) == (
        start,
        first,
        end,
        last,
    )
    assert (found.unit, int(np.isnan(found.values).sum())) == (unit, blanks)
    assert found.values.dtype == np.float64
    assert len(set(np.diff(found.time))) == 1


@needs_files
def test_the_yearly_sunspots_are_the_means_of_the_monthly_ones():
    """Two files, one sun: most years agree to the rounding, .05; a few were revised. A shift of a year shows."""
    year, month = pc.data.timeseries("sunspots"), pc.data.timeseries("sunspots_monthly")
    means = month.values[: 260 * 12].reshape(260, 12).mean(axis=1)
    assert str(year.time[49]) == str(month.time[0])[:4] == "1749"
    assert np.median(np.abs(year.values[49:] - means)) < 0.05
    assert np.abs(year.values[49:] - means).max() < 1 < np.median(np.abs(year.values[48:-1] - means))


@needs_files
def test_the_real_ecg_beats():
    """Five minutes of mV: the largest beats are a few mV above a baseline near zero."""
    found = pc.data.timeseries("ecg")
    assert (len(found.time), found.unit) == (108000, "mV")
    assert found.time[-1] == pytest.approx(300 - 1 / 360)
    assert (found.values.min(), found.values.max()) == (
        pytest.approx((327 - 1024) / 200),
        pytest.approx(3.65),
    )


@needs_files
@pytest.mark.parametrize("filtered", [True, False])
def test_the_flights_are_the_known_ones(filtered):
    """15 flights, 75,100 samples; runs 1-3 train, run 4 validates, melon tests; quaternions are unit, qw >= 0."""
    found = pc.data.nanodrone(filtered)
    lengths = {"square": 1900, "random": 6000, "chirp": 6000}
    expected = [
        {f"{path}_run{i}": n for path, n in lengths.items() for i in runs} for runs in ((1, 2, 3), (4,))
    ]
    expected.append({f"melon_run{i}": 6500 for i in (1, 2, 3)})
    assert [{name: len(flight.x) for name, flight in part.items()} for part in found[:3]] == expected
    assert sum(len(flight.u) for part in found[:3] for flight in part.values()) == 75100
    assert "not bit-identical" in found.note
    for flight in (flight for part in found[:3] for flight in part.values()):
        q = flight.x[:, 6:10].astype(float)
        assert np.abs(np.linalg.norm(q, axis=1) - 1).max() < 1e-6
        assert q[:, 3].min() >= 0
        assert (flight.x.dtype, flight.u.dtype) == (np.float32, np.float32)


def slope(x, dt):
    """The derivative of the rows at the moments 1..N-2."""
    return (x[2:] - x[:-2]) / (2 * dt)


def share(difference, of):
    """Root mean squares, one as a share of the other."""
    return np.sqrt(np.mean(difference**2) / np.mean(of**2))


@needs_files
@pytest.mark.parametrize("run", ["melon_run1", "melon_run2", "melon_run3"])
def test_the_columns_of_a_flight_hang_together(run):
    """Velocity is the slope of position; the rates are 2 q* dq/dt, in the body, not 2 dq/dt q*, in the world.

    Another order of columns, unit or dt gives shares of about one.
    """
    found = pc.data.nanodrone()
    x = found.test[run].x.astype(float)
    velocity, q, rates = x[1:-1, 3:6], x[1:-1, 6:10], x[1:-1, 10:13]
    assert share(slope(x[:, :3], found.dt) - velocity, velocity) < 0.2
    dq = slope(x[:, 6:10], found.dt)
    v, w, dv, dw = q[:, :3], q[:, 3:], dq[:, :3], dq[:, 3:]
    body, world = (2 * (w * dv - dw * v + side * np.cross(v, dv)) for side in (-1, 1))
    assert share(body - rates, rates) < 0.25
    assert share(world - rates, rates) > 0.4


@needs_files
def test_the_filter_takes_away_what_is_fast():
    """Motors: forwards and backwards a Butterworth filter of order 4 at 20 Hz leaves 1/(1 + 1.5^8)^2 at 30 Hz."""
    smooth, rough = (pc.data.nanodrone(filtered).test["melon_run2"] for filtered in (True, False))
    assert np.sqrt(np.mean((smooth.x[:, :3] - rough.x[:, :3]) ** 2)) < 0.02  # m: it is the same flight
    power = []
    for u in (smooth.u, rough.u):
        centred = (u - u.mean(axis=0)) * np.hanning(len(u))[:, None]
        power.append((np.abs(np.fft.rfft(centred, axis=0)) ** 2).sum(axis=1))
    hertz = np.fft.rfftfreq(len(smooth.u), 0.01)
    left = [power[0][band].sum() / power[1][band].sum() for band in (hertz < 10, hertz > 30)]
    assert left[0] == pytest.approx(1, abs=0.05)
    assert left[1] < 1 / (1 + 1.5**8) ** 2
