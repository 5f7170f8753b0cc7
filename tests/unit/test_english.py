"""Written English -> spoken words: a table of what people say, and laws that hold for any text."""

import re
import string
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s4speech.errors import InputError
from s4speech.text.english import normalize_english, say_as
from s4speech.text.english import numbers as n
from s4speech.text.english.say_as import KINDS
from s4speech.text.english.words import is_spelt

# Each line: written => spoken.
TABLE = """
# whole numbers
I have 0 cats => i have zero cats
7 days => seven days
13 => thirteen
He was 21 => he was twenty one
199 debtors and 289 felons => one hundred ninety nine debtors and two hundred eighty nine felons
5719 writs => five thousand seven hundred nineteen writs
114,300 arrests => one hundred fourteen thousand three hundred arrests
1,000,000 => one million
1,234,567 => one million two hundred thirty four thousand five hundred sixty seven
7020 for Middlesex => seven thousand twenty for middlesex
10000 steps => ten thousand steps
2,500,000,000 stars => two billion five hundred million stars
agent 007 => agent zero zero seven
that he has a 5, an 8, or a 3 before him => that he has a five, an eight, or a three before him
100 => one hundred
1,001 nights => one thousand one nights
7. The state side => seven. the state side
# ordinals
the 1st, 2nd and 3rd => the first, second and third
his 21st birthday => his twenty first birthday
the 12th man => the twelfth man
the 100th day => the one hundredth day
the 1,000th visitor => the one thousandth visitor
a 20th-century novel => a twentieth-century novel
5th Ave. => fifth avenue.
on the 40th floor => on the fortieth floor
the 113th => the one hundred thirteenth
# years, decades, eras
In 1465 Sweynheim began printing => in fourteen sixty five sweynheim began printing
about 1455, => about fourteen fifty five,
1469, 1470; => fourteen sixty nine, fourteen seventy;
in 1803 the total rose to 710. => in eighteen oh three the total rose to seven hundred ten.
born in 1900 => born in nineteen hundred
in 2000 => in two thousand
in 2007 => in two thousand seven
in 2015 => in twenty fifteen
in 1066 => in ten sixty six
between 1813 and 1816 => between eighteen thirteen and eighteen sixteen
the year ending Michaelmas 1802. => the year ending michaelmas eighteen oh two.
1,500 people => one thousand five hundred people
1234 people => one thousand two hundred thirty four people
the 1990s => the nineteen nineties
the '90s => the nineties
the 80s => the eighties
in the 1800s => in the eighteen hundreds
mid-1960s music => mid-nineteen sixties music
44 BC => forty four b c
AD 79 => ay d seventy nine
300 B.C. => three hundred b c.
the class of '99 => the class of ninety nine
1990-1995 => nineteen ninety to nineteen ninety five
the 1914-18 war => the nineteen fourteen to eighteen war
pre-1914 maps => pre nineteen fourteen maps
June 2021 => june twenty twenty one
# dates
On the 14th June, 1800, there were => on the fourteenth june, eighteen hundred, there were
on 22nd August, 1799, for => on twenty second august, seventeen ninety nine, for
on October 15th for a debt => on october fifteenth for a debt
on 4/5/2021. => on april fifth, twenty twenty one.
4/5/21 => april fifth, twenty twenty one
25/12/2020 => december twenty fifth, twenty twenty
24.12.2021 => december twenty fourth, twenty twenty one
2021-04-05 => april fifth, twenty twenty one
April 5, 2021 => april fifth, twenty twenty one
July 4 => july fourth
5 April 2021 => the fifth of april, twenty twenty one
the 5th of May, 1999 => the fifth of may, nineteen ninety nine
Sept. 11, 2001 => september eleventh, two thousand one
on Jan. 3rd => on january third
Dec. 25 => december twenty fifth
May 1-3 => may first to third
we may 3 times ask => we may three times ask
Mon. and Tues. => monday and tuesday.
Nov 30 => november thirtieth
9/11 => nine eleven
# times
3:45 pm => three forty five p m
at 3 p.m. we left => at three p m we left
We left at 3 p.m. => we left at three p m.
We left at 3 p.m. Then it rained. => we left at three p m. then it rained.
9 a.m. => nine ay m.
9AM sharp => nine ay m sharp
10:05 => ten oh five
7:00 => seven o'clock
7:00 a.m. or later => seven ay m or later
15:30 => fifteen thirty
14:00 => fourteen hundred
00:15 => zero fifteen
7:30-ish => seven thirty-ish
12:30:15 => twelve thirty and fifteen seconds
at 6 o'clock => at six o'clock
5 p.m. Monday => five p m monday
# money
$3.50 => three dollars and fifty cents
$1 => one dollar
$1.01 => one dollar and one cent
$0.99 => ninety nine cents
$1.5 million => one point five million dollars
$5bn => five billion dollars
$3k => three thousand dollars
$100,000 => one hundred thousand dollars
£500 and upwards => five hundred pounds and upwards
between £10 and £20 => between ten pounds and twenty pounds
£81,791. => eighty one thousand seven hundred ninety one pounds.
at the rate of £8 per £100, => at the rate of eight pounds per one hundred pounds,
£2.01 => two pounds and one penny
£0.50 => fifty pence
€20 => twenty euros
20 € => twenty euros
€1.20 => one euro and twenty cents
¥500 => five hundred yen
50¢ => fifty cents
-$5 => minus five dollars
$20-30 => twenty to thirty dollars
$5-$10 million => five to ten million dollars
US$5 => five u s dollars
50 USD => fifty u s dollars
EUR 100 => one hundred euros
₹200 => two hundred rupees
$2.5 => two point five dollars
€5/month => five euros per month
1 shilling 5 pence => one shilling five pence
# decimals, negatives, percent, fractions, ratios
3.14159 => three point one four one five nine
0.5 => zero point five
.05 => point zero five
-3 => minus three
it fell to -3.2 => it fell to minus three point two
−7 => minus seven
10% => ten percent
0.5% => zero point five percent
5-10% off => five to ten percent off
100 % => one hundred percent
1/2 => one half
3/4 of it => three quarters of it
2/3 => two thirds
5/8 => five eighths
1 1/2 cups => one and a half cups
2½ miles => two and a half miles
¾ => three quarters
16/17 => sixteen seventeenths
22/7 => twenty two sevenths
24/7 => twenty four seven
a 3:1 lead => a three to one lead
3-4 days => three to four days
pages 10–20 => pages ten to twenty
5 - 3 = 2 => five minus three equals two
2 + 2 = 4 => two plus two equals four
3 × 4 => three times four
10 ÷ 2 => ten divided by two
6*7 => six times seven
a 4x4 car => a four by four car
x² + y² => x squared plus y squared
10^6 => ten to the sixth
±5 => plus or minus five
# units
120 km/h => one hundred twenty kilometers per hour
1 km => one kilometer
a 5-km run => a five kilometer run
5kg => five kilograms
2.5 kg. => two point five kilograms.
500 mg => five hundred milligrams
6 ft => six feet
1 ft => one foot
5'10" tall => five feet ten inches tall
12 oz => twelve ounces
3 lbs. of beef => three pounds of beef
20°C => twenty degrees celsius
98.6 °F => ninety eight point six degrees fahrenheit
-5°C => minus five degrees celsius
1°C => one degree celsius
a 90° turn => a ninety degree turn
16 GB => sixteen gigabytes
100 Mbps => one hundred megabits per second
2.4 GHz => two point four gigahertz
22.05 kHz => twenty two point zero five kilohertz
60 mph => sixty miles per hour
60 miles/hour => sixty miles per hour
10 m/s => ten meters per second
250 ml => two hundred fifty milliliters
10 m² => ten square meters
3 sq ft => three square feet
5-10 km => five to ten kilometers
30 min => thirty minutes
40 dB => forty decibels
300 ms => three hundred milliseconds
2000 km => two thousand kilometers
1500 g => one thousand five hundred grams
$5.50/kg => five dollars and fifty cents per kilogram
25.3/game => twenty five point three per game
9.58s => nine point five eight seconds
a 20" screen => a twenty inch screen
1/4 tsp. salt => one quarter teaspoons salt
2.5x faster => two point five times faster
1080p => ten eighty p
1 kWh => one kilowatt hour
10 μm => ten micrometers
# telephone and other strings of digits
555-1234 => five five five, one two three four
(555) 123-4567 => five five five, one two three, four five six seven
555-123-4567 => five five five, one two three, four five six seven
+44 20 7946 0958 => plus four four, two zero, seven nine four six, zero nine five eight
1-800-555-0199 => one, eight zero zero, five five five, zero one nine nine
020 7946 0958 => zero two zero, seven nine four six, zero nine five eight
ISBN 978-3-16-148410-0 => i s b n nine seven eight, three, one six, one four eight four one zero, zero
Call 911! => call nine one one!
192.168.0.1 => one nine two dot one six eight dot zero dot one
version 2.0.1 => version two point zero point one
v1.2 => version one point two
# roman numerals
Henry VIII => henry the eighth
Louis XIV's court => louis the fourteenth's court
in the 27th George II the right => in the twenty seventh george the second the right
Elizabeth I of England => elizabeth the first of england
World War II => world war two
World War I. => world war one.
Chapter IV. => chapter four.
Part II of Volume III => part two of volume three
Pope John Paul II => pope john paul the second
Super Bowl XL => super bowl forty
George, I think => george, i think
In class I slept. "No." I left. => in class i slept. no. i left.
AAAH => aaah
two Ph.D.s => two p h d's
COULDN'T you? I'LL see. => couldn't you? i'll see.
the table d'hote at D'Arcy's => the table d'hote at d'arcy's
I AM here. => i am here.
PART I HAVE READ TODAY => part i have read today
ALWAYS say BYE => always say bye
I am fine => i am fine
a CD and an LCD => a c d and an l c d
# abbreviations
Dr. Smith => doctor smith
Mr. Neild and Mrs. Hall => mister neild and missus hall
Mr Pike => mister pike
Ms. Jones => miz jones
Prof. Lee => professor lee
Elm Dr. is closed => elm drive is closed
St. Paul's => saint paul's
Baker St. is long => baker street is long
I live on Main St. => i live on main street.
at St. John's St. in London => at saint john's street in london
Gen. Lee and Col. Hill => general lee and colonel hill
Messrs. Longman => messieurs longman
Capt. Ahab => captain ahab
Mt. Everest and Ft. Worth => mount everest and fort worth
Philip Steels, etc. => philip steels, et cetera.
etc., and so on => et cetera, and so on
black letter, i.e. the letter which => black letter, that is, the letter which
as, e.g., that of Jenson => as, for example, that of jenson
cats vs. dogs => cats versus dogs
John Smith Jr. was here => john smith junior was here
Smith & Co. => smith and company.
Acme Inc. grew => acme incorporated grew
No. 5 => number five
Nos. 3 and 4 => numbers three and four
Say no. => say no.
p. 12 => page twelve
pp. 3-4 => pages three to four
Vol. 2, Ch. 3 => volume two, chapter three
Fig. 4 => figure four
#1 => number one
§ 5 => section five
approx. 30 => approximately thirty
the dept. of labor => the department of labor
42 Fifth Ave. and Sunset Blvd. => forty two fifth avenue and sunset boulevard.
w/o sugar => without sugar
and/or => and or
Jones et al. found => jones et al found
Rev. Brown => reverend brown
Lt. Dan => lieutenant dan
# initials, acronyms, capitals
J. R. R. Tolkien => j r r tolkien
J.R.R. Tolkien => j r r tolkien
George W. Bush => george w bush
A. A. Milne => ay ay milne
the U.S. Army => the u s army
He lives in the U.S. => he lives in the u s.
Washington, D.C. => washington, d c.
a Ph.D. in physics => a p h d in physics
the FBI => the f b i
the USA => the u s ay
a USB port => a u s b port
HTTP => h t t p
NASA and NATO => nasa and nato
UNESCO => unesco
IBM's CEO => i b m's c e o
CDs and PCs => c d's and p c's
AT&T => ay t and t
R&D => r and d
vitamin A. => vitamin ay.
Plan B. => plan b.
TV and tv => t v and t v
OK => okay
the UK and the EU => the u k and the e u
It is NOT true => it is not true
THE PRISON OF NEWGATE WAS FULL => the prison of newgate was full
THE FBI TOLD US SO => the f b i told us so
MISSUS BROWN DOES NOT OBJECT => missus brown does not object
OW, a wild dog => ow, a wild dog
# letters with digits
COVID-19 => covid nineteen
MP3 => m p three
H2O => h two o
3D => three d
5G => five g
an F-16 => an f sixteen
B2B => b two b
Boeing 747 => boeing seven forty seven
221B Baker St. => two hundred twenty one b baker street.
24-hour => twenty four hour
a 5-year-old boy => a five year-old boy
# addresses
john.doe@example.com => john dot doe at example dot com
see www.example.com. => see w w w dot example dot com.
https://example.com/page => example dot com slash page
example.org/a_b?x=1 => example dot org slash ay underscore b question mark x equals one
#StateSpace => hashtag state space
@jane_doe said => at jane doe said
# symbols, punctuation, other scripts
salt & pepper => salt and pepper
a + b = c => a plus b equals c
"Quote," he said => quote, he said
“Curly” and ‘single’ => curly and single
it’s => it's
don't => don't
the dogs' bowls => the dogs bowls
God bless 'em => god bless 'em
runnin' away => runnin' away
Well... maybe => well, maybe
Wait... No. => wait. no.
yes — no => yes, no
yes--no => yes, no
I was sick once -- typhoid. => i was sick once, typhoid.
Really?! => really?
Stop!!! => stop!
(praecipe) => praecipe,
one (two) three => one, two, three
a rifle-shot beyond => a rifle-shot beyond
life-giving, life-conserving => life-giving, life-conserving
No-sir-ee. => no-sir-ee.
café, naïve, Łódź => cafe, naive, lodz
Straße => strasse
**bold** and _slanted_ => bold and slanted
Great job 😀😀! => great job, grinning face!
I ❤️ you => i, heart, you
so funny 😂😂 => so funny, face with tears of joy
👍🏽 🇺🇸 ✓ => thumbs up, u s, check mark
안녕하세요 => annyeonghaseyo
①② => one two
½ => one half
50 ₽ or 5 € => fifty rubles or five euros
Москва => moskva
an α-particle => an alpha particle
東京 => chinese characters
こんにちは => konnitiha
first\u0000 word => first word
snake_case => snake case
- => \

... => \

"""


def _cases():
    text = TABLE.replace("=> \\\n", "=> ").replace("\\\n", "")
    for line in text.splitlines():
        if " =>" in line:
            written, _, spoken = line.partition(" =>")
            yield written.replace("\\u0000", "\0"), spoken.strip()


CASES = list(_cases())
OUTPUT = re.compile(r"(?:'?[a-z]+(?:['-]+[a-z]+)*'?[,.;:!?]?(?: |$))*")


def test_the_table_is_large():
    assert len(set(CASES)) >= 250


@pytest.mark.parametrize(("written", "spoken"), CASES, ids=[written[:30] for written, _ in CASES])
def test_reads_as_people_do(written, spoken):
    assert normalize_english(written) == spoken
    assert normalize_english(spoken) == spoken


_FRAGMENTS = (
    "Dr. St. Mr. No. no. p. A I a. A. i.e. U.S. etc. Inc Jan. May 5 12 1999 007 1,000 3.5 .5 "
    "1/2 12:30 $5 \xa3 \u20ac % \xb0 \xb0C km m kg $ -5 - -- \u2013 \u2014 ... . , ; : ! ? ( ) "
    "[ ] \" ' 's \u2019 & @ # / _ * + = < > ~ ^ | \\ ` IV XIV Henry VIII II FBI USA NASA TVs tv "
    "www. .com a@b.co http://x 1st 20th 1990s '90s 555-1234 am p.m. \n \n\n \t \U0001f600 \xe9 "
    "\xdf \u6771 \u03b1 \u044f \xbd \xb2 \u2116 \u2026 st dr vs etc eg THE CAT \xa0 \u200b \x00 "
    "X x k M bn - 'em in' o' a b"
)
_PIECES = _FRAGMENTS.split(" ")
MIXED = st.lists(st.sampled_from([*_PIECES, " ", " "]), max_size=12).map("".join)


@settings(max_examples=400, deadline=None)
@given(st.one_of(MIXED, st.text(max_size=40), st.text(alphabet=string.printable, max_size=40)))
@example("st ,.")
@example("ST. O.K. .")
def test_any_text_gives_the_output_alphabet_and_a_fixed_point(text):
    spoken = normalize_english(text)
    assert OUTPUT.fullmatch(spoken), spoken
    assert normalize_english(spoken) == spoken


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20), st.sampled_from(KINDS), st.sampled_from(["", "mdy", "dmy", "ym", "x"]))
def test_say_as_gives_the_output_alphabet(text, kind, order):
    spoken = say_as(text, kind, order)
    assert OUTPUT.fullmatch(spoken), spoken


_REPEATED = "1|.|[|a|A|a.|1.|1,|1-|1/|$1|(|-|a-|'|1 |1:|. |a@|_|www.|#a|A. |I |St. |1st |May 1 |\n|😀|α|½"


@pytest.mark.parametrize("text", _REPEATED.split("|"))
def test_long_repetitions_are_read(text):
    """A pattern of quadratic time would not come back."""
    assert set(normalize_english((text * 20_000)[:20_000])) <= set(string.ascii_lowercase + "' -,.;:!?")


@given(st.integers(0, 10**18 - 1))
def test_cardinals_can_be_read_back(number):
    values = {word: value for value, word in enumerate(n.ONES)}
    values |= {word: 10 * value for value, word in enumerate(n.TENS) if value > 1}
    total = group = 0
    for word in n.cardinal(str(number)).split():
        if word == "hundred":
            group *= 100
        elif word in n.SCALES:
            total, group = total + group * 1000 ** n.SCALES.index(word), 0
        else:
            group += values[word]
    assert total + group == number


def test_a_number_beyond_names_is_read_by_digits():
    assert normalize_english("1" * 19) == " ".join(["one"] * 19)


@given(st.integers(1, 3999))
def test_roman_numerals_round_trip(number):
    assert n.roman(n.to_roman(number)) == number


@pytest.mark.parametrize("text", ["", "IIII", "VX", "IC", "MMMMM", "ABC", "iv"])
def test_what_is_no_roman_numeral(text):
    assert n.roman(text) == 0


_SPELT = "FYI LED WER GPU CSS FBI USB HTTP IBM UK BBC CNN SQL ATM DNA CPU XML"


@pytest.mark.parametrize("word", _SPELT.split())
def test_spelt(word):
    assert is_spelt(word)


_WORDS = "WORLD EXIT KNOWS SPEECH SUCH MONTHS NASA NATO AIDS STOP WARNING THE IT UNICEF RADAR LASER SCUBA"


@pytest.mark.parametrize("word", _WORDS.split())
def test_said_as_a_word(word):
    assert not is_spelt(word)


@pytest.mark.parametrize(
    ("text", "kind", "order", "spoken"),
    [
        ("ABC-1", "characters", "", "ay b c dash one"),
        ("a.b@c", "spell-out", "", "ay dot b at c"),
        ("1234", "cardinal", "", "one thousand two hundred thirty four"),
        ("-12", "number", "", "minus twelve"),
        ("XIV", "ordinal", "", "fourteenth"),
        ("3", "ordinal", "", "third"),
        ("1999", "digits", "", "one nine nine nine"),
        ("1/2/2003", "date", "dmy", "february first, two thousand three"),
        ("1/2/2003", "date", "mdy", "january second, two thousand three"),
        ("2003-02", "date", "ym", "february two thousand three"),
        ("4/5", "date", "md", "april fifth"),
        ("1999", "date", "y", "nineteen ninety nine"),
        ("12:05", "time", "", "twelve oh five"),
        ("5551234", "telephone", "", "five five five one two three four"),
        ("3 1/4", "fraction", "", "three and a quarter"),
        ("17/30", "fraction", "", "seventeen thirtieths"),
        ("5 km", "unit", "", "five kilometers"),
        ("3.50", "currency", "", "three dollars and fifty cents"),
        ("€3", "currency", "", "three euros"),
        ("Dr. Who", "cardinal", "", "doctor who"),
    ],
)
def test_say_as(text, kind, order, spoken):
    assert say_as(text, kind, order) == spoken


def test_unknown_kind_names_the_kinds():
    with pytest.raises(InputError, match=r"got interpret-as 'shout', wanted one of characters, .*currency"):
        say_as("x", "shout")


def test_imports_stay_light():
    """The command line starts with this: no torch, no number words library, no numpy."""
    heavy = "{'torch', 'numpy', 'inflect', 'pydantic'}"
    heavy = "{'torch', 'numpy', 'inflect', 'pydantic'}"
    code = f"import sys, s4speech.text.markup; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
