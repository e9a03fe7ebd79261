"""Series in time: flights of a nano-drone, and six small classical series, one number at a time.

Two loaders, and readers that are pure functions of bytes.
"""

import csv
import io
import re
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

from ..arguments import check_word
from .about import add
from .downloads import Remote, content
from .text import decoded

GITHUB = "https://raw.githubusercontent.com"
STATSMODELS = (
    f"{GITHUB}/statsmodels/statsmodels/82c59e378bdfb5ae324006c477954879ad3e24be/statsmodels/datasets"
)
SERIES = {
    "sunspots": Remote(
        "timeseries",
        ("sunspots.csv",),
        f"{STATSMODELS}/sunspots/sunspots.csv",
        2944,
        "f67889b1d9002cd5227f0e0ef54e35b419cdd85a31279adef6f73fb41e5c0a9b",
    ),
    "sunspots_monthly": Remote(
        "timeseries",
        ("sunspots_monthly.dat",),
        f"{STATSMODELS}/sunspots/src/sunspots_monthly.dat",
        21194,
        "cc303d26340b6d599bc2878899f8c50c12323dc04b52a26ad047965ea2b9d2a3",
    ),
    "co2": Remote(
        "timeseries",
        ("co2.csv",),
        f"{STATSMODELS}/co2/co2.csv",
        33974,
        "16695fa2786e53414e5a6b54767a3fdf5de99cfbc68617f69d1362d92776a92f",
    ),
    "elnino": Remote(
        "timeseries",
        ("elnino.csv",),
        f"{STATSMODELS}/elnino/elnino.csv",
        5508,
        "b647be00e0fd264be9764e317e6b963f35030014ecca2b21b204521716e463ad",
    ),
    "nile": Remote(
        "timeseries",
        ("nile.csv",),
        f"{STATSMODELS}/nile/nile.csv",
        942,
        "88e97bea7249e5832a85e41aec6ce4b8f7b1b14aae930c8363da7f193286b598",
    ),
    "ecg": Remote(
        "timeseries",
        ("ecg.npz",),
        f"{GITHUB}/scipy/dataset-ecg/e35b2263c86aff8f8a3aa7c3eb3d90f2b07c70d2/ecg.dat",
        119035,
        "f20ad3365fb9b7f845d0e5c48b6fe67081377ee466c3a220b7f69f35c8958baf",
    ),
}
NANODRONE = {  # the keys are what ``filtered`` says
    True: Remote(
        "nanodrone",
        ("nanodrone_100hz_filtered.npz",),
        None,
        4661851,
        "ab825c694a8499ed1e8fa4b3e0993c600e2379e0a02bf9b95ae04cf1cecf3f2e",
    ),
    False: Remote(
        "nanodrone",
        ("nanodrone_100hz_unfiltered.npz",),
        None,
        4051254,
        "1868ef1e599d631ecb0fd8085d59433dbd874ce0ac60922dfd0b5839ebadfe3c",
    ),
}
RECONSTRUCTED = (
    "Reconstructed from public logs of the same flights: statistically the benchmark, not bit-identical to the "
    "official files. Say so wherever results are reported."
)
OFFICIAL = (
    "the official benchmark lives at github.com/idsia-robotics/nanodrone-sysid-benchmark (loader package "
    "nonlinear_benchmarks); the files that minipc reads are reconstructed, not bit-identical, and have no public origin"
)
DT = 0.01  # seconds between two samples of a flight
STATES = (
    *(f"{name} [m]" for name in ("x", "y", "z")),
    *(f"{name} [m/s]" for name in ("vx", "vy", "vz")),
    *("qx", "qy", "qz", "qw"),
    *(f"{name} [rad/s]" for name in ("wx", "wy", "wz")),
)
INPUTS = tuple(f"motor {i} [rad/s]" for i in (1, 2, 3, 4))
ECG_RATE, ECG_ZERO, ECG_PER_MV = 360, 1024, 200  # samples a second; steps of the converter
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class TimeSeries(NamedTuple):
    """A series of numbers: ``time (N,)``, ``values (N,)`` float64 with NaN where the source is blank, their ``unit``.

    ``time`` is datetime64 in years, months or days; for the ECG float64, seconds since its start.
    """

    time: np.ndarray
    values: np.ndarray
    unit: str


class Flight(NamedTuple):
    """One flight: states ``x (N, 13)`` and motor speeds ``u (N, 4)`` at the same moments, float32."""

    x: np.ndarray
    u: np.ndarray


class Flights(NamedTuple):
    """Flights by name, a dict of :class:`Flight` for each part; ``note`` says what they are not."""

    train: dict
    valid: dict
    test: dict
    dt: float = DT
    states: tuple = STATES
    inputs: tuple = INPUTS
    note: str = RECONSTRUCTED


def timeseries(name) -> TimeSeries:
    """A small classical time series.

    ================  =======  =======================================  ===================================
    name              N        time                                     values
    ================  =======  =======================================  ===================================
    sunspots          309      years, 1700 to 2008                      sunspot number, mean of the year
    sunspots_monthly  3,126    months, January 1749 to June 2009        sunspot number, mean of the month
    co2               2,284    weeks, 1958-03-29 to 2001-12-29          CO2 at Mauna Loa in ppmv; 59 blank
    elnino            732      months, January 1950 to December 2010    sea surface, Nino 1+2, in deg C
    nile              100      years, 1871 to 1970                      flow at Aswan in 1e8 m^3 a year
    ecg               108,000  seconds, 360 samples a second            electrocardiogram in mV, 5 minutes
    ================  =======  =======================================  ===================================

    Blank values are NaN. In ``sunspots_monthly`` the source interpolated February 1824, and calls what comes after
    December 2008 preliminary.

    Parameters
    ----------
    name : str          one of the names above

    Returns
    -------
    TimeSeries

    Raises
    ------
    ConnectionError     the file is not here and cannot be downloaded; says where to put it
    ValueError          the name is none of these, or the file does not hold what it should

    Notes
    -----
    The ECG is record 208 of the MIT-BIH arrhythmia database, mV = (raw - 1024) / 200. Source, licence and citation:
    ``minipc.data.about("timeseries")``.
    """
    check_word("name", name, SERIES)
    data, file = content(SERIES[name]), SERIES[name].names[0]
    if name == "sunspots":
        return TimeSeries(*read_column(data, file, ("YEAR", "SUNACTIVITY"), "Y", 1), "sunspot number")
    if name == "sunspots_monthly":
        return TimeSeries(*read_month_table(data, file), "sunspot number")
    if name == "co2":
        return TimeSeries(*read_column(data, file, ("date", "co2"), "D", 7), "ppmv")
    if name == "elnino":
        return TimeSeries(*read_month_columns(data, file), "deg C")
    if name == "nile":
        return TimeSeries(*read_column(data, file, ("year", "volume"), "Y", 1), "1e8 m^3")
    return TimeSeries(*read_ecg(data, file), "mV")


def nanodrone(filtered=True) -> Flights:
    """Nano-drone benchmark: 15 flights of a Crazyflie 2.1 Brushless, 75,100 samples at 100 Hz.

    ``train``: runs 1 to 3 of ``square`` (1,900 samples each), ``random`` and ``chirp`` (6,000 each); ``valid``: run 4
    of each; ``test``: ``melon`` runs 1 to 3 (6,500 each), a curve that the training set has not. A flight is
    ``flights.train["square_run1"]``.

    The files are reconstructed from public logs of the same flights, **not bit-identical** to the official ones:
    ``note`` of the result says so, and so must who reports a result.

    Parameters
    ----------
    filtered : bool     True: low-pass filtered without delay, as the authors do (compare with the paper by these);
                        False: the same flights without the filter

    Returns
    -------
    Flights             ``x (N, 13)``: position x y z [m] and velocity vx vy vz [m/s] in the world, quaternion
                        qx qy qz qw (unit, qw >= 0), rates wx wy wz [rad/s] in the body; ``u (N, 4)``: motor speeds
                        [rad/s]; ``dt`` .01 s

    Raises
    ------
    FileNotFoundError   the files are not under MINIPC_DATA; says where the official benchmark lives
    ValueError          a file does not hold what it should

    Notes
    -----
    Source, licence and citation: ``minipc.data.about("nanodrone")``.
    """
    if not isinstance(filtered, bool):
        raise TypeError(f"filtered must be True or False, got {filtered!r}")
    remote = NANODRONE[filtered]
    try:
        data = content(remote)
    except (FileNotFoundError, ConnectionError) as error:
        raise FileNotFoundError(f"{error}; {OFFICIAL}") from None
    return read_flights(data, remote.names[0])


def read_column(data, name, header, unit, step):
    """Times and values of a csv file ``time,value`` with a header; the next time is ``step`` units later.

    ``unit`` is "Y", years written 1958, or "D", days written 19580329. A blank value is NaN.

    Raises
    ------
    ValueError          header, time or value are not as expected; names the file and the line

    Examples
    --------
    >>> read_column(b"date,co2\\n19580329,316.1\\n19580405,\\n", "co2.csv", ("date", "co2"), "D", 7)[1]
    array([316.1,   nan])
    """
    rows = list(_csv(data, name, header))
    time = _moments(rows, unit, step, name)
    return time, np.array([_number(value, name, line) for line, (_, value) in rows])


def read_month_columns(data, name):
    """Months and values of a csv file with a row a year: ``YEAR,JAN,...,DEC`` with that header.

    Raises
    ------
    ValueError          header, year or value are not as expected; names the file and the line
    """
    return _months(list(_csv(data, name, ("YEAR", *MONTHS))), name)


def read_month_table(data, name):
    """Months and values of the rows between the first two lines of dashes: a year and twelve numbers, fewer at the end.

    Raises
    ------
    ValueError          a line of dashes is missing, or year or value are not as expected; names file and line
    """
    lines = decoded(data, name).split("\n")
    rules = [i for i, line in enumerate(lines) if set(line) == {"-"}]
    if len(rules) < 2:
        raise ValueError(
            f"{name}, line {len(lines)}: the table must stand between two lines of dashes; is the file cut?"
        )
    rows = [(i + 1, lines[i].split()) for i in range(rules[0] + 1, rules[1]) if lines[i].strip()]
    return _months(rows, name)


def read_ecg(data, name):
    """Seconds and mV of the array ``ecg`` in an npz file.

    Raises
    ------
    ValueError          no npz file, or no such array of unsigned integers; names the file
    """
    raw = _arrays(data, name).get("ecg")
    if raw is None or raw.dtype.kind != "u" or raw.ndim != 1:
        found = "nothing of this name" if raw is None else f"{raw.dtype} {raw.shape}"
        raise ValueError(f"{name}: ecg must be a row of unsigned integers, got {found}")
    return np.arange(len(raw)) / ECG_RATE, (raw.astype(np.float64) - ECG_ZERO) / ECG_PER_MV


def read_flights(data, name) -> Flights:
    """Flights of an npz file with the keys ``<train|test>/<path>_run<i>/<x|u>``; run 4 of ``train`` validates.

    Other arrays of a flight are passed over.

    Raises
    ------
    ValueError          no npz file, another key, or an array of another shape; names the file and the key
    """
    arrays = _arrays(data, name)
    flights = Flights({}, {}, {})
    for key in arrays:
        match = re.fullmatch(r"(train|test)/([a-z]+_run(\d+))/\w+", key)
        if match is None:
            raise ValueError(f"{name}: a key must be as train/square_run1/x, got {key!r}")
        part, flight, run = match.groups()
        home = getattr(flights, "valid" if part == "train" and run == "4" else part)
        if flight not in home:
            home[flight] = _flight(arrays, f"{part}/{flight}", name)
    return flights


def _flight(arrays, key, name):
    x, u = (_matrix(arrays, f"{key}/{symbol}", n, name) for symbol, n in (("x", 13), ("u", 4)))
    if len(x) != len(u):
        raise ValueError(f"{name}: {key} must have as many x as u, got {len(x)} and {len(u)}")
    return Flight(x, u)


def _matrix(arrays, key, columns, name):
    """The array ``key``, checked: (N, columns), finite real numbers."""
    value = arrays.get(key)
    if value is None:
        raise ValueError(f"{name}: {key} is missing")
    if value.ndim != 2 or value.shape[1] != columns or value.dtype.kind != "f":
        raise ValueError(f"{name}: {key} must be floats (N, {columns}), got {value.dtype} {value.shape}")
    if not np.isfinite(value).all():
        raise ValueError(f"{name}: {key} must be finite")
    return value


def _arrays(data, name):
    """All arrays of an npz file; none of them is a pickle."""
    if not data.startswith(b"PK"):  # what every zip file begins with; np.load would take other formats, too
        raise ValueError(f"{name}: must be an npz file, got the bytes {data[:8].hex()}")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {key: np.asarray(file[key]) for key in file.files}  # what is no array comes as bytes
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{name}: no complete npz file: {error}") from None


def _csv(data, name, header):
    """Lines and fields after the header; every row has as many fields."""
    reader = csv.reader(decoded(data, name)[:-1].split("\n"))
    first = tuple(next(reader))
    if first != header:
        raise ValueError(f"{name}, line 1: the header must be {','.join(header)}, got {','.join(first)}")
    for fields in reader:
        if len(fields) != len(header):
            raise ValueError(
                f"{name}, line {reader.line_num}: must have {len(header)} fields, got {len(fields)}"
            )
        yield reader.line_num, fields


def _months(rows, name):
    """Twelve values a year, year after year; the last year may end early."""
    years, values = _moments(rows, "Y", 1, name), []
    for line, (_, *cells) in rows:
        if len(cells) > 12 or (len(cells) < 12 and line != rows[-1][0]):
            raise ValueError(f"{name}, line {line}: a year must have 12 months, got {len(cells)}")
        values += [_number(cell, name, line) for cell in cells]
    return years[0].astype("M8[M]") + np.arange(len(values)), np.array(values)


def _moments(rows, unit, step, name):
    """The first field of each row as a time, ``step`` units after the one before."""
    if not rows:
        raise ValueError(f"{name}: has no rows")
    moments = [_moment(fields[0], unit, name, line) for line, fields in rows]
    for (line, fields), before, moment in zip(rows[1:], moments, moments[1:], strict=False):
        if moment - before != np.timedelta64(step, unit):
            raise ValueError(f"{name}, line {line}: {fields[0]} must come {step}{unit} after {before}")
    return np.array(moments)


def _moment(text, unit, name, line):
    """A year written 1958 or a day written 19580329."""
    digits, example = {"Y": (4, "a year such as 1958"), "D": (8, "a day such as 19580329")}[unit]
    try:
        if not re.fullmatch(f"[0-9]{{{digits}}}", text):
            raise ValueError
        return np.datetime64(text if unit == "Y" else f"{text[:4]}-{text[4:6]}-{text[6:]}", unit)
    except ValueError:
        raise ValueError(f"{name}, line {line}: time must be {example}, got {text!r}") from None


def _number(text, name, line):
    """A finite number; NaN for a blank."""
    if not text.strip():
        return np.nan
    try:
        value = float(text)
    except ValueError:
        value = np.inf
    if not np.isfinite(value):
        raise ValueError(f"{name}, line {line}: a value must be a finite number or blank, got {text!r}")
    return value


add(
    name="nanodrone",
    title="Nano-drone system-identification benchmark, Crazyflie 2.1 Brushless, 100 Hz",
    what="15 flights, x (N, 13) float32 in m, m/s, unit quaternion, rad/s, u (N, 4) motor speeds in rad/s, dt .01 s; "
    f"train runs 1-3 of square, random, chirp, validation run 4, test melon. {RECONSTRUCTED}",
    source="github.com/idsia-robotics/nanodrone-sysid-benchmark, history of the branch model_export, commit "
    "b0cf4b3144e84716546ab8bb028d7eacc42475c2, processed again as the authors do",
    licence="no licence file in the repository: redistribution is not explicitly granted; cite, do not publish the files",
    citation="R. Busetto, E. Cereda, M. Forgione, G. Maroni, D. Piga, D. Palossi, Nonlinear system identification for a "
    "nano-drone benchmark, Control Engineering Practice 172:106871, 2026 (arXiv:2512.14450)",
)
add(
    name="timeseries",
    title="Small classical time series: sunspots, sunspots_monthly, co2, elnino, nile, ecg",
    what="time (N,) and values (N,) float64, NaN where blank; N = 309, 3,126, 2,284, 732, 100, 108,000; unit with each",
    source=f"{STATSMODELS}; ecg: {SERIES['ecg'].url} (MIT-BIH record 208, PhysioNet)",
    licence="public domain, as each module of statsmodels states; ecg: ODC-By 1.0 (PhysioNet; the repository has no "
    "licence file)",
    citation="ecg: G. B. Moody, R. G. Mark, IEEE Eng. Med. Biol. 20(3), 2001, and Goldberger et al., PhysioBank, "
    "Circulation 101(23), 2000; co2: C. D. Keeling, T. P. Whorf, Atmospheric CO2 concentrations derived from flask "
    "air samples at sites in the SIO network, 2004; nile: G. W. Cobb, The problem of the Nile, Biometrika 65(2), "
    "1978",
)
