"""What English writes short, and how it is said. Matched by the patterns of numerals.py and words.py."""

from s4speech.text.english.numbers import listed

MONTHS = listed("january february march april may june july august september october november december")
MONTH_SHORT = {m[:3]: m for m in MONTHS} | {"sept": "september"}
_DAYS = listed("monday tuesday wednesday thursday friday saturday sunday")
DAYS = {d[:3]: d for d in _DAYS} | {"tues": "tuesday", "thur": "thursday", "thurs": "thursday"}

# Titles and others whose full stop never ends a sentence. Any case.
TITLES = {
    "mr": "mister",
    "mrs": "missus",
    "ms": "miz",
    "mssrs": "messieurs",
    "messrs": "messieurs",
    "prof": "professor",
    "capt": "captain",
    "cmdr": "commander",
    "lt": "lieutenant",
    "sgt": "sergeant",
    "cpl": "corporal",
    "pvt": "private",
    "mme": "madame",
    "mlle": "mademoiselle",
    "supt": "superintendent",
    "vs": "versus",
    "approx": "approximately",
    "viz": "namely",
}
# As TITLES, but also plain words: only with a capital and a full stop, before a capital.
CAPITAL_TITLES = {
    "Gen": "general",
    "Col": "colonel",
    "Maj": "major",
    "Rev": "reverend",
    "Hon": "honorable",
    "Gov": "governor",
    "Sen": "senator",
    "Rep": "representative",
    "Pres": "president",
    "Fr": "father",
    "Mt": "mount",
    "Ft": "fort",
    "Adm": "admiral",
    "Sec": "secretary",
    "Insp": "inspector",
    "Univ": "university",
}
# These may end a sentence: the full stop stays where one plainly does. Any case, with the full stop.
ENDINGS = {
    "etc": "et cetera",
    "jr": "junior",
    "sr": "senior",
    "esq": "esquire",
    "inc": "incorporated",
    "ltd": "limited",
    "corp": "corporation",
    "bros": "brothers",
    "ave": "avenue",
    "blvd": "boulevard",
    "rd": "road",
    "hwy": "highway",
    "pkwy": "parkway",
    "dept": "department",
    "govt": "government",
    "misc": "miscellaneous",
    "mins": "minutes",
    "hrs": "hours",
    "hr": "hours",
    "secs": "seconds",
    "yrs": "years",
    "lbs": "pounds",
    "lb": "pounds",
    "oz": "ounces",
    "tsp": "teaspoons",
    "tbsp": "tablespoons",
    "incl": "including",
    "excl": "excluding",
    "ibid": "ibidem",
}
# As ENDINGS, but only with a capital: the small forms are words, or too rare.
CAPITAL_ENDINGS = {
    "Co": "company",
    "Ln": "lane",
    "Pl": "place",
    "Sq": "square",
    "Ct": "court",
    "Assn": "association",
    "Calif": "california",
    "Conn": "connecticut",
    "Tenn": "tennessee",
    "Minn": "minnesota",
    "Penn": "pennsylvania",
    "Wis": "wisconsin",
    "Ariz": "arizona",
    "Okla": "oklahoma",
    "Ky": "kentucky",
    "Va": "virginia",
}
# Only before a number. Any case, the full stop optional where the entry is no word of its own.
BEFORE_NUMBER = {
    "no": "number",
    "nos": "numbers",
    "vol": "volume",
    "vols": "volumes",
    "p": "page",
    "pp": "pages",
    "pg": "page",
    "ch": "chapter",
    "chap": "chapter",
    "fig": "figure",
    "figs": "figures",
    "sec": "section",
    "sect": "section",
    "art": "article",
    "apt": "apartment",
    "ext": "extension",
    "rm": "room",
    "c": "circa",
    "ca": "circa",
    "ver": "version",
    "pt": "part",
    "eq": "equation",
    "tel": "telephone",
    "op": "opus",
}
# Dotted and slashed shorts, lower-cased and without the spaces; the full stops belong to them.
DOTTED = {
    "e.g.": "for example,",
    "eg.": "for example,",
    "i.e.": "that is,",
    "ie.": "that is,",
    "et al.": "et al",
    "w/o": "without",
    "w/": "with",
    "b/c": "because",
    "and/or": "and or",
    "he/she": "he or she",
    "she/he": "she or he",
    "his/her": "his or her",
    "him/her": "him or her",
    "s/he": "she or he",
    "n/a": "not applicable",
    "c/o": "care of",
    "ph.d.s": "p h d's",
    "ph.d.": "p h d",
    "ph.d": "p h d",
    "cf.": "compare",
}

# name -> (singular, plural); the keys are case-sensitive, as units are.
_METRIC = {
    "m": "meter",
    "g": "gram",
    "L": "liter",
    "l": "liter",
    "W": "watt",
    "Wh": "watt hour",
    "V": "volt",
    "Hz": "hertz",
    "J": "joule",
    "Pa": "pascal",
    "A": "amp",
    "s": "second",
    "bps": "bit per second",
    "b/s": "bit per second",
    "B/s": "byte per second",
    "N": "newton",
}
_PREFIXED = listed(
    "km cm mm nm um kg mg ug ml mL dl dL cl cL kL kW MW GW mW kWh MWh GWh kV mV kHz MHz GHz "
    "THz kJ MJ kPa MPa hPa mA ms ns us kbps Kbps Mbps Gbps kb/s Mb/s Gb/s kB/s KB/s MB/s GB/s "
    "kN"
)
_PREFIX = {
    "k": "kilo",
    "K": "kilo",
    "c": "centi",
    "m": "milli",
    "n": "nano",
    "u": "micro",
    "d": "deci",
    "h": "hecto",
    "M": "mega",
    "G": "giga",
    "T": "tera",
}


def _plural_unit(name: str) -> str:
    head, per, rest = name.partition(" per ")
    return name if name.endswith("hertz") else head + "s" + per + rest


def _units() -> dict[str, tuple[str, str]]:
    names = {u: n for u, n in _METRIC.items() if u not in ("A", "s", "N", "B/s", "b/s", "L", "l")}
    names |= {u: _PREFIX[u[0]] + _METRIC[u[1:]] for u in _PREFIXED}
    names |= {p + "B": _PREFIX[p] + "byte" for p in "kKMGT"} | {
        "PB": "petabyte",
        "Mb": "megabit",
        "Gb": "gigabit",
    }
    names |= {"km/h": "kilometer per hour", "kph": "kilometer per hour", "kmh": "kilometer per hour"}
    names |= {"m/s": "meter per second", "mph": "mile per hour", "mi": "mile", "mi/h": "mile per hour"}
    names |= {
        "yd": "yard",
        "yds": "yard",
        "lb": "pound",
        "lbs": "pound",
        "oz": "ounce",
        "fl oz": "fluid ounce",
    }
    names |= {
        "min": "minute",
        "mins": "minute",
        "sec": "second",
        "secs": "second",
        "hr": "hour",
        "hrs": "hour",
    }
    names |= {
        "s": "second",
        "h": "hour",
        "L": "liter",
        "l": "liter",
        "gal": "gallon",
        "qt": "quart",
        "cal": "calorie",
    }
    names |= {
        "kcal": "kilocalorie",
        "dB": "decibel",
        "px": "pixel",
        "ha": "hectare",
        "yr": "year",
        "yrs": "year",
    }
    names |= {
        "tsp": "teaspoon",
        "tbsp": "tablespoon",
        "kt": "knot",
        "kts": "knot",
        "gsm": "gram per square meter",
    }
    names |= {"fps": "frame per second", "ppm": "part per million", "bpm": "beat per minute"}
    for length, name in {"m": "meter", "km": "kilometer", "cm": "centimeter", "mm": "millimeter"}.items():
        names |= {
            f"{length}^2": f"square {name}",
            f"{length}^3": f"cubic {name}",
            f"sq {length}": f"square {name}",
        }
        names |= {f"{length}2": f"square {name}"}
    both = {u: (n, _plural_unit(n)) for u, n in names.items()}
    both |= {
        "ft": ("foot", "feet"),
        "sq ft": ("square foot", "square feet"),
        "ft^2": ("square foot", "square feet"),
    }
    both |= {"sq mi": ("square mile", "square miles"), "rpm": ("r p m", "r p m"), "psi": ("p s i", "p s i")}
    both |= {"mpg": ("mile per gallon", "miles per gallon"), "dpi": ("d p i", "d p i")}
    both |= {"%": ("percent", "percent"), "\u00b0": ("degree", "degrees")}
    for letter, scale in {"C": "celsius", "F": "fahrenheit"}.items():
        both |= {f"\u00b0{letter}": (f"degree {scale}", f"degrees {scale}")}
        both |= {f"\u00b0 {letter}": (f"degree {scale}", f"degrees {scale}")}
    for letter, way in {"N": "north", "S": "south", "E": "east", "W": "west"}.items():
        both |= {f"\u00b0{letter}": (f"degree {way}", f"degrees {way}")}
    return both


UNITS = _units()

PER = listed("kg g lb L l oz km mi hr h min sec s yr gal GB MB")  # said in full behind a slash

# sign -> (one, many, one hundredth, many hundredths)
CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "\u00a3": ("pound", "pounds", "penny", "pence"),
    "\u20ac": ("euro", "euros", "cent", "cents"),
    "\u00a5": ("yen", "yen", "sen", "sen"),
    "\u20b9": ("rupee", "rupees", "paisa", "paise"),
    "\u20a9": ("won", "won", "jeon", "jeon"),
    "\u20bd": ("ruble", "rubles", "kopeck", "kopecks"),
}
CURRENCY_CODES = {
    "USD": ("u s ", "$"),
    "US$": ("u s ", "$"),
    "AUD": ("australian ", "$"),
    "A$": ("australian ", "$"),
    "CAD": ("canadian ", "$"),
    "C$": ("canadian ", "$"),
    "EUR": ("", "\u20ac"),
    "GBP": ("", "\u00a3"),
    "JPY": ("", "\u00a5"),
    "INR": ("", "\u20b9"),
    "Rs.": ("", "\u20b9"),
    "Rs": ("", "\u20b9"),
}
MAGNITUDES = {
    "k": "thousand",
    "K": "thousand",
    "m": "million",
    "M": "million",
    "mn": "million",
    "bn": "billion",
    "b": "billion",
    "B": "billion",
    "tn": "trillion",
    "T": "trillion",
}

# Capitals that are pronounceable and yet spelt; others are judged by words.spelt().
SPELT = set(
    listed(
        "USA UK EU UN UAE FBI CIA IBM AI API APIs CEO CFO CTO COO CIO UFO IQ EQ ID IP HIV UCLA "
        "MIT NYC AOL EST EDT PST PDT CST CDT MST UTC GMT IRA IRS IPO HR PR TV PC CD DVD ATM ADHD "
        "ESPN EPA FAA FDA USC USSR IOU AKA FAQ ISO IT IV UPS USPS AC DC IMF EKG ECG EEG ICU ER "
        "VIP DIY ETA ASL BLT LA MLA LSE UV ISP IDE UI UX GUI URL HTML MBA BA MA IED AP IMO EV SUV "
        "OCD PE RV POW RIP SOS MIA DJ PM AD BC BCE CE USS FYI NGO DEA ACLU NYSE PSI SEC LED WER DOJ "
        "DOE DOD TSA IUD IVF OED PIN ABS ACL ADA"
    )
) - {"GUI", "PIN", "APIs", "ADA", "IT"}
# Said as words though the letters do not look it, or read in a way of their own.
SPECIAL = {
    "JSON": "jason",
    "JPEG": "jay peg",
    "JPG": "jay peg",
    "MPEG": "em peg",
    "ASCII": "askey",
    "WWI": "world war one",
    "WWII": "world war two",
    "IEEE": "i triple e",
    "NAACP": "n double ay c p",
    "NCAA": "n c double ay",
    "AAA": "triple ay",
    "OK": "okay",
    "PhD": "p h d",
    "PhDs": "p h d's",
    "PSs": "p s's",
    "MSs": "manuscripts",
    "MSS": "manuscripts",
    "LaTeX": "lay tech",
    "SCSI": "scuzzy",
    "CMOS": "see moss",
    "WYSIWYG": "whizzy wig",
    "YMCA": "y m c ay",
    "YWCA": "y w c ay",
    "BSc": "b s c",
    "MSc": "m s c",
}
# Small letters that are spelt.
SPELT_SMALL = set(
    listed(
        "tv html http https pdf usb url css xml sql www dvd cd gps gpu cpu jpg png mp pc dj ftp "
        "ssh ssl vpn sms faq diy ceo lcd hdmi csv api"
    )
) - {"mp", "cd"}
TWO_LETTER_WORDS = set(
    listed(
        "AH AM AN AS AT AW AX BE BY DO EH GO HA HE HI HO IF IN IS IT LO MA ME MY NO OF OH ON OR "
        "OW OX PA SO TO UH UM UP WE YE YO ED AL JO BO MO ID"
    )
) - {"MA", "PA", "ID", "AL"}
REGNAL = set(
    listed(
        "Henry George Edward Charles William James John Paul Louis Richard Elizabeth Mary Philip "
        "Ferdinand Frederick Francis Napoleon Alexander Peter Catherine Nicholas Ivan Pius Leo "
        "Benedict Gregory Clement Innocent Urban Sixtus Ramses Rameses Thutmose Ptolemy Darius "
        "Xerxes Mehmed Selim Murad Suleiman Gustav Christian Haakon Olaf Harald Juan Carlos "
        "Felipe Pedro Alfonso Umberto Victor Emmanuel Wilhelm Otto Leopold Joseph Maximilian "
        "Albert Rudolf Stephen Robert David Constantine Justinian Boniface Adrian Julius Alexius "
        "Michael Theodosius Amenhotep Cosimo Malcolm Kenneth Rama Hassan Mohammed Abdullah "
        "Hussein Faisal Margrethe Beatrix Isabella Eugene Honorius Martin Lucius Callixtus "
        "Celestine Nicholas Paul Marcellus Sigismund Ladislaus Casimir Vladislaus Bela Roger "
        "Conrad"
    )
)
BEFORE_ROMAN = set(
    listed(
        "chapter part book volume act scene section war title article phase type class level "
        "appendix figure table psalm canto stage grade bowl lesson unit number no vol pt corps "
        "mark schedule annex division episode fantasy rocky wrestlemania apollo saturn amendment "
        "plate letter verse century group factor generation gen quadrant mk"
    )
)
EMPHASIS = {"'em", "'tis", "'twas", "'til", "'cause", "'bout", "'round", "'twere", "'twill", "'n"}
CUT = {"o'", "an'", "th'", "ol'", "mo'", "wi'", "ha'"}
# Words that begin sentences and seldom names.
STARTERS = set(
    listed(
        "The A An He She It They We You I This That These Those There Here His Her Its Their Our "
        "My Your In On At By For From To With But And Or So Then When While If As After Before "
        "Since Because However What Who Where Why How Is Are Was Were Do Does Did Has Have Had "
        "Can Could Will Would May Must Should Not No Yes One Two Some Many Most All Each Every "
        "Both Another Other Now Once It's He's She's That's There's They're I'm We're Perhaps "
        "Although Though Until Nobody Somebody Everyone Nothing Something Please Let Don't "
        "Meanwhile Instead Even Still Also Only Just"
    )
)
