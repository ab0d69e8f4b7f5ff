"""Where a sysinfo report tells the state of the key: its record is recognised by its words.

Pure: a small part of the report in, candidates out. Nobody outside the vendor knows how a report names the record of
the key, so it is told by its words alone:

* a text that is a binding sentence ("SenseLock ключ - [работает]"), or that says a failure of SenseLock;
* an element that is named after the key (its tag, or a label such as name="SenseLock ключ") and tells a state.

It is the key's only where nothing around it says otherwise: in a log, a list of services or what was before, in the middle
of a text, or in an element too large to be read as one record, it is a mention. What contradicts a good state, anywhere
in the record, makes it unknown. A mention is never OK, and shown by -vv so that the operator can pin it with --record.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import plugin_runtime as runtime
from kodeks_binding import (
    BINDING,
    CHECK_KEY,
    CRITICAL,
    OK,
    PROTECTION_ERROR,
    UNKNOWN,
    UNREADABLE_BINDING,
    WORKS,
    Statement,
    advice_for,
    error_code,
    failing,
    judge_binding,
    means_works,
    one_line,
    parse_license_page,
    set_of,
    unrecognised,
    works_by,
    worst_of,
)

if TYPE_CHECKING:
    from typing import Iterable, Iterator, Sequence

# --- Words ----------------------------------------------------------------------------------------------------

SENSELOCK = re.compile("sense[ _-]?lock", re.IGNORECASE | re.ASCII)
STATE_NAMES = set_of("state status result value val text работа состояние статус результат значение")
_STRICT_STATE_NAMES = set_of("state status состояние статус")
LABEL_NAMES = ("name", "title", "label", "caption", "subject", "key", "param", "parameter", "device", "module", "component",
               "system", "type", "kind", "id", "имя", "название", "наименование", "параметр", "ключ", "устройство", "модуль",
               "система", "тип", "вид")  # fmt: skip
_PROPER_NAMES = ("name", "title", "label", "caption", "subject", "имя", "название", "наименование")
_BINDING_WORDS = set_of("binding protection привязка защита")
_PROTECTION_WORDS = _BINDING_WORDS | set_of("защиты привязки")
_SIDE_MODULES = {2007, 2008, 2010, 2020, 2021}  # errors of which a module without license has one while the key works
_SUBJECT_WORDS = set_of(
    "senselock key usb device dongle protection system state status binding hardware ключ ключа ключи защита защиты система "
    "системы состояние статус привязка устройство аппаратный аппаратная аппаратной электронный работа работоспособность"
)
# What a second name of a value is where it names no other thing: a type of data or of keys.
_TYPES = set_of(
    "string text int integer bool boolean enum xs xsd java lang usb local network net remote строка текст число "
    "локальный локальная сетевой сетевая"
)
# Elements that are a thing of their own by the name they bear; the state of a <server key="SenseLock"> is the server's.
_THING_WORDS = set_of(
    "item param parameter property prop field entry record row section module component subsystem element node line tr p info "
    "data group check details параметр запись строка раздел модуль компонент подсистема свойство поле сведения данные группа "
    "проверка"
)
# What bears the name of a customer, a machine or a product: that name may hold any word.
_NAMED_BY_PEOPLE = set_of(
    "server host computer machine client customer organization organisation company license licence registration product report "
    "sysinfo installation сервер хост компьютер машина клиент заказчик организация компания лицензия регистрация продукт отчет "
    "отчёт установка"
)
# A user, a document, a driver, a log or a list of what was before may bear the key's name; what is said there is not said
# of the key now. The words count in the names of an element and of everything around it.
_DOCUMENTS = set_of("doc docs document documents documentation документ документы документа документов документация")
_BEARERS = _DOCUMENTS | set_of(
    "account accounts owner owners author authors автор авторы автора login logins log logs logging eventlog syslog лог "
    "логи логов journal event events message messages query queries help example examples template templates hosts хосты "
    "хостов volume volumes том тома томы томов database databases база базы базу базе базой базам базах базами prev last old "
    "former past default defaults expected archive archives backup backups старый старая старое старые demo demos "
    "trial trials демо before yesterday вчера news search searches codes коды"
)
_BEARER_STEMS = (
    "user", "пользовател", "логин", "журнал", "событи", "сообщени", "notification", "уведомлени", "запрос", "справк", "пример",
    "шаблон", "памятк", "инструкци", "previous", "histor", "предыдущ", "прошл", "прежн", "истори", "ожидаем", "архив",
    "legend", "легенд", "словар", "possible", "возможн", "cache", "кэш", "changelog", "новост", "ticket", "поиск", "session",
    "сеанс",
)  # fmt: skip
# What only explains the words of a report says nothing of any key: neither that it works nor that it fails.
_DEFINITIONS = set_of("legend legends легенда enum enums enumeration possible translation translations glossary словарь")
_SOFTWARE = set_of(
    "driver drivers process processes процесс процессы процесса процессов daemon daemons демон демоны демонов software program "
    "programs программа программы программу package packages installed installs lib libs library libraries job jobs"
)
_SOFTWARE_STEMS = (
    "драйвер", "servic", "служб", "сервис", "пакет", "установленн", "task", "задач", "thread", "поток", "plugin", "плагин",
    "библиотек",
)  # fmt: skip
# Beside its state a record may tell an error, or whether the key is there, under names of these words and of no others.
_ERROR_WORDS = set_of(
    "error errors err errno fault faults failure failures failed problem problems missing absent lost expired ошибка ошибки "
    "ошибок сбой сбои сбоев неисправность неисправности отсутствует"
)
_CODE_WORDS = set_of("code код")
_PRESENCE_WORDS = set_of(
    "present found detected connected available exist exists attached plugged inserted online active valid count найден найдена "
    "найдено найдены обнаружен обнаружена обнаружено подключен подключён подключена подключено наличие присутствует доступен "
    "доступна доступно вставлен вставлено активен количество working works enabled actual keys ключи ключей"
)
# What is none under these names is good.
_FAULT_WORDS = set_of(
    "disabled blocked blacklisted blacklist removed unplugged disconnected отключен отключён отключена отключено заблокирован "
    "заблокирована заблокировано извлечен извлечён удален удалён вынут"
)
_SIDE_WORDS = set_of("is has message text description of number ключей текст описание номер")
_COUNTS = set_of("count number total количество число")
# What is told of a time before may be over; of an error that is only a date.
_PAST_WORDS = set_of("last latest time date when since последняя последний последнее последней время дата когда")
# A line with one of these beside that of the binding: it may be of another time, or of another thing.
_OTHER_TIME = r"прошл|предыдущ|прежн|вчера|истори|архив|\bбыл|previous|\blast\b|\bold\b|histor|yesterday|archiv|sense"
_DATE = r"(?=.*\d.*[.:/-])[\dtz\s.,:/+-]+"
_NEGATIONS = set_of("not no не нет")
# In the name of a value these make it a sentence ("SenseLock не найден"), which is said where there is no value to deny it.
_DENYING = _NEGATIONS | set_of("отсутствует missing absent lost expired")
_DETAIL_WORDS = _SIDE_WORDS | _PAST_WORDS | _CODE_WORDS | _ERROR_WORDS | _FAULT_WORDS | _PRESENCE_WORDS | _NEGATIONS
_OUR_WORDS = _SUBJECT_WORDS | STATE_NAMES | _DETAIL_WORDS
_NO = r"(?:0x)?0+|no|n|false|none|off|null|nil|n/a|[-\u2014]+|нет|не|ложь|выкл\w*|отсутству\w+"
_NO_ERROR = (
    r"ok|ок|success\w*|успешно|норма|операция (?:успешно (?:завершена|выполнена)|(?:завершена|выполнена) успешно)|"
    r"(?:the )?operation completed successfully"
)
_NO_STATE = (  # of a text beside a good state: a number, a date, a version, a model, or yes
    r"[\d\s.,:/+_-]+|v?\d[\w.-]*|[a-z][a-z_-]*[\divx][\w.-]*|ok|ок|true|yes|да|on|вкл\w*|enabled|active|активен|норма|исправен"
)
_FINE = (  # of the state of a part of the thing
    r"(?:работает|connected|running|started|ready|installed|present|found|good|valid|подключ|запущен|установлен|готов|действ|активн|"
    r"найден|обнаружен|доступ|исправ|норм)\w*"
)
# A name that the key bears, which denies it.
_DENIAL = r"\b(?:не|нет|no|not|none|null|unknown|неизвестн\w*)\b|эмул|emul|\b(?:demo|trial|test|демо|пробн|тест)"
# A failure under any name is one of the key where the text itself says so.
_OF_THE_KEY = r"\bключ|\bkey|dongle|senselock|защит|protection|привязк|limit exceeded"
_TRIAL = r"\b(?:demo|trial|демо(?:верси\w*|нстрационн\w*)?|пробн\w+)\b"
# Every text that says something of the key holds one of these; words_to_find() looks for their bytes. ASCII only: "K" is
# also the lower case of the Kelvin sign, which those bytes are not.
TELLING_WORDS = ("ривязк", "локальная", "домен")
TELLING = re.compile("|".join((SENSELOCK.pattern, *TELLING_WORDS)), re.IGNORECASE | re.ASCII)
_WORD = re.compile(r"[^\W_]+")
# Names of two words that nothing parts: keyfound, errorcount.
_GLUED_BEGINNINGS = ("is", "has", "last", "keys", "key", "dongle", "device", "errors", "error", "err")
_GLUED_ENDS = set_of(
    "found present exists connected attached enabled active working works count code error errors message number text time"
)
_CAMEL = re.compile(r"(?<=[a-zа-яё])(?=[A-ZА-ЯЁ])")
_CLAUSE = re.compile(r"(?:^|[.;:!])\s*")
_FAILING = (
    r"не (?:работа|найден|обнаруж|подключ|доступ|авториз|отвеча|удал)|недоступ|отсутств|отключ|запрещ|просроч|ист[её]к|заблокир|"
    r"извлеч[её]н|вынут|отсоедин[её]н|\bудал[её]н[ао]?\b|ч[её]рн\w+ спис|"
    r"\b(?:removed|unplugged|disconnected|disabled|blocked|blacklist\w*)\b|"
    r"ошибка|сбой|невозможно|(?:нет|без) ключ|not (?:found|available|connect|work|respond|detect|present)|unavailable|exceeded|"
    r"expired|\bno (?:key|device|dongle)\b|\bfail|\berror\b|\bmissing\b|\blost\b|\babsent\b|\bdenied\b"
)
# Words of a failure that say that there is none, or what to do if there were one.
_NO_FAILURE = (
    r"(?:ошиб\w+|сбо\w+|\berrors?|\bfailures?|\bfaults?)\s*[:=-]?\s*(?:нет|отсутству\w+|none|no|0)(?=\s*(?:$|[.,;)\]]))|"
    r"\bне (?:(?:находится )?в ч[её]рн\w+ спис\w+|(?:отключ|заблокир|извлеч|просроч)\w+)|"
    r"\bnot (?:blocked|blacklisted|disabled|removed|disconnected|expired)\b|"
    r"(?:ошиб(?:ок|ки)|сбо(?:ев|и)) не (?:найден|обнаруж)\w+|"
    r"\b(?:нет|без|no|without) (?:ошиб(?:ок|ки)|сб(?:оев|оя)|errors?|failures?|faults?)\b|"
    r"\bnothing (?:is )?(?:missing|lost|absent|denied)\b|"
    r"\b(?:если|когда|при|if|when|in case)\b[^,.;:!]*"
)
_KINDS = ("локальная", "домен к ")  # of a binding, beside the key; works_by() knows which of them are good


def words_in(name: str) -> list[str]:
    """The words of a name in lower case: `k:SenseLockState`, `senselock_state` and `SenseLock state` have the same."""
    name = SENSELOCK.sub(" senselock ", name[:200].rpartition(":")[2])
    found = [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", name))]
    return [part for word in found for part in (_parts(word) if word.startswith(_GLUED_BEGINNINGS) else (word,))]


def _parts(word: str) -> tuple[str, ...]:
    """The two words that one is made of, or the word."""
    parted = ((word[: len(first)], word[len(first) :]) for first in _GLUED_BEGINNINGS if word.startswith(first))
    return next((parts for parts in parted if parts[1] in _GLUED_ENDS), (word,))


def names_the_key(text: str) -> bool:
    """Whether a text is a name of the SenseLock key or of its state, and nothing else."""
    return len(text) <= 100 and bool(SENSELOCK.search(text)) and _SUBJECT_WORDS.issuperset(words_in(text))


def tells_state(name: str, names: frozenset[str] = STATE_NAMES) -> bool:
    """Whether a name is one for the state of something, and of nothing in particular but the key: `key_state`, `value`."""
    found = words_in(name)
    return not names.isdisjoint(found) and (STATE_NAMES | _SUBJECT_WORDS).issuperset(found)


def bears(names: Iterable[str], software: bool, is_root: bool = False) -> bool:
    """Whether a thing of these names may only bear the key's name; `software` counts too where only a name is told.

    The whole report may well be called a document.
    """
    for word in (word for name in names for word in words_in(name)):
        if (word in _BEARERS and not (is_root and word in _DOCUMENTS)) or word.startswith(_BEARER_STEMS):
            return True
        if software and (word in _SOFTWARE or word.startswith(_SOFTWARE_STEMS)):
            return True
    return False


def says_failure(text: str) -> bool:
    """Whether a text in lower case holds words of a failure that it does not take back."""
    return bool(re.search(_FAILING, text)) and bool(re.search(_FAILING, re.sub(_NO_FAILURE, " ", text)))


def state_in(text: str) -> int | None:
    """What a text says where a state is expected: OK, CRITICAL, UNKNOWN for words that are not known, None for no text."""
    text = one_line(text)
    if text in (WORKS, f"[{WORKS}]"):
        return OK
    if text.endswith(f"[{WORKS}]") and SENSELOCK.match(text) and judge_binding(text).state == OK:
        return OK  # the whole line of the license page
    if not text:
        return None
    return CRITICAL if advice_for(text) or says_failure(text.casefold()) else UNKNOWN


def statement_in(text: str, place: str = "", is_name: bool = False) -> Statement | None:
    """What a text says of the key by itself; None for a text that says nothing of it, or only mentions it.

    The name of a value (`is_name`) says nothing, be it "SenseLock error" or "SenseLock не найден": its value does.
    """
    if not TELLING.search(text):
        return None
    if "<" in text and "ривязка:" in text.lower():
        statements = parse_license_page(text, place)
        return worst_of(statements) if statements else None
    if "&" in text:
        text = re.sub("&nbsp;|&#160;|&#xa0;", " ", text, flags=re.IGNORECASE)
    text = one_line(_line_of_the_binding(text) if "\n" in text else text)
    if text[1:].startswith("ривязка:"):
        return judge_binding(text.partition(":")[2], place)
    if text.casefold().startswith("привязка:"):  # in capitals, which no server is known to write
        statement = judge_binding(text.partition(":")[2], place)
        return statement if statement.state != OK else unrecognised("the binding is not written as it is known", text, place)
    match = BINDING.fullmatch(text)
    if match and (match[1].startswith(_KINDS) or SENSELOCK.search(match[1])):
        return judge_binding(text, place)
    if match and SENSELOCK.search(match[2]) and state_in(match[2]) == CRITICAL:
        return failing(text, place)  # whatever is bound, the key is not found
    folded = text.casefold()
    if UNREADABLE_BINDING in folded or (SENSELOCK.search(text) and re.search(PROTECTION_ERROR, folded)):
        return failing(text, place)
    state = None if is_name else _state_of_the_key_in(text)
    if state == CRITICAL:
        return failing(text, place)
    return unrecognised("the state of the key is not written as it is known", text, place) if state == OK else None


def _line_of_the_binding(text: str) -> str:
    """Of a text of lines that each tell a name and a value, the one that tells the binding; any other text whole."""
    lines = [line for line in text.split("\n") if line.strip()]
    found = [line for line in lines if one_line(line)[1:].startswith("ривязка:")]
    if len(lines) < 2 or len(found) != 1 or not BINDING.fullmatch(one_line(found[0]).partition(":")[2].strip()):
        return text
    others = [one_line(line).casefold() for line in lines if line is not found[0]]
    if any(not re.fullmatch(r"[^:]{1,60}: ?\S.*", line) or says_failure(line) or re.search(_OTHER_TIME, line) for line in others):
        return text
    return found[0]


def _state_of_the_key_in(text: str) -> int | None:
    """What a text says behind the key's name, OK or CRITICAL; None where it says neither."""
    clauses = _CLAUSE.finditer(text[:500]) if SENSELOCK.search(text) else ()
    states = (state_in(_behind_the_name(text[clause.end() : clause.end() + 500])) for clause in clauses)
    return next((state for state in states if state in (OK, CRITICAL)), None)


def names_a_failure(name: str) -> bool:
    """Whether a name is that of a failure of the key, which its value affirms or denies: name="SenseLock не найден"."""
    return len(name) <= 100 and _state_of_the_key_in(one_line(name)) == CRITICAL


def _behind_the_name(text: str) -> str:
    """What follows the key's name at the start of a text, "" where the text does not start with it."""
    text, end, named = SENSELOCK.sub("senselock", text), 0, False
    for word in _WORD.finditer(text):
        if word[0].lower() not in _SUBJECT_WORDS:
            break
        end, named = word.end(), named or word[0].lower() == "senselock"
    return text[end:].strip(" \"'«»:=,-") if named else ""


TOO_LARGE = "the element of the SenseLock key holds too much to be read as one record"

# --- The record -----------------------------------------------------------------------------------------------


class Element:
    """An element of the report. `start` is its first byte, -1 once it is larger than a record can be.

    `texts` are what stands before, between and behind its `children`. `labels` are fixed once it is too large. `inline`:
    it stands in the middle of a text. `before`, `tail`: the end of the text that was read last in a large one. `size` is the
    number of characters in its tag.
    """

    __slots__ = (
        "attributes", "before", "children", "counts", "inline", "labels", "name", "number", "size", "start", "tail", "texts",
    )  # fmt: skip

    def __init__(self, name: str, attributes: dict[str, str], start: int = -1, number: int = 1) -> None:
        self.name, self.attributes, self.start, self.number = name, attributes, start, number
        self.size = len(name) + sum(map(len, attributes.values())) if attributes else len(name)
        self.texts: list[str] = []
        self.children: list[Element] = []
        self.counts: dict[str, int] = {}
        self.labels: dict[str, str] | None = None
        self.before = self.tail = ""
        self.inline = False

    def text(self) -> str:
        """Its own text on one line, without that of its children."""
        return one_line(" ".join(self.texts))

    def is_mixed(self) -> bool:
        """Whether it holds text as well as elements, which are a part of that text."""
        return bool(self.children) and any(text and not text.isspace() for text in self.texts)

    def whole_text(self) -> str:
        """All the text in it on one line, that of the elements in it included."""
        pieces: list[str] = []
        waiting: list[Element | str] = [self]
        while waiting:
            item = waiting.pop()
            if isinstance(item, str):
                pieces.append(item)
                continue
            waiting += item.texts[len(item.children) :]
            for number in reversed(range(len(item.children))):
                waiting.append(item.children[number])
                waiting += item.texts[number : number + 1]
        return one_line(" ".join(pieces))

    def strings(self) -> Iterator[tuple[str, str]]:
        """Every text that it holds itself: attributes by name, then its text with "" as its name."""
        yield from self.attributes.items()
        if self.is_mixed():
            yield "", self.whole_text()
        else:
            yield from (("", text) for text in self.texts if not text.isspace() and text)

    def step(self) -> str:
        """Its part of a path, with its number among siblings of the same name from the second on."""
        return f"/{self.name}[{self.number}]" if self.number > 1 else f"/{self.name}"

    def place(self, attribute: str = "") -> str:
        """Where a text of it stands, for the sentence."""
        name = f"element {runtime.clean(self.name, 40)} of the report"
        return f"attribute {runtime.clean(attribute, 40)} of {name}" if attribute else name

    def mentions_the_key(self) -> bool:
        """Whether SenseLock stands in its tag, in the name of an attribute, or in one of its texts."""
        return any(SENSELOCK.search(text) for text in (self.name, *self.attributes, *self.attributes.values(), *self.texts))


class Aspect(NamedTuple):
    """One text of a named thing: what it is about ("state", "" for the thing itself), what it says and where.

    `deep`: it stands too far below the thing to be its state, but a failure there is one of the thing.
    """

    about: str
    text: str
    path: str
    place: str
    deep: bool = False

    def says(self) -> tuple[int | None, bool]:
        """What it says of the thing, as state_in() does, and whether a failure is sure."""
        text, words = one_line(self.text), words_in(self.about)
        told = None
        if _OUR_WORDS.issuperset(words):
            if not (_ERROR_WORDS | _CODE_WORDS).isdisjoint(words):
                told = self._says_of_errors(text, words)
            if not told and not (_FAULT_WORDS | _PRESENCE_WORDS).isdisjoint(words):
                told = self._says_of_presence(text, words)
        sure = not self.is_past() and (self.is_ours() or bool(re.search(_OF_THE_KEY, text.casefold())))
        return told or (state_in(text), sure)

    def _says_of_errors(self, text: str, words: Sequence[str]) -> tuple[int | None, bool] | None:
        """What is said under the name of an error or of a code; None where a code is not that of an error."""
        folded, named_error = text.casefold(), not _ERROR_WORDS.isdisjoint(words)
        left = re.sub(r"^(?:0x)?0+(?![\w.,])", "", re.sub(_NO_FAILURE, "", folded)).strip(" .,:;!()-")
        if not left or self.denies() or re.fullmatch(_NO_ERROR, left) or self.is_over():
            return None, False
        if error_code(text, alone=True):
            return CRITICAL, (named_error or len(text) > 3) and not self.is_past()
        return (CRITICAL, state_in(text) == CRITICAL and not self.is_past()) if named_error else None

    def _says_of_presence(self, text: str, words: Sequence[str]) -> tuple[int | None, bool] | None:
        """What is said under a name that tells whether the key is there ("found"), or that it is not ("not found", "blocked")."""
        if _FAULT_WORDS.isdisjoint(words) and _NEGATIONS.isdisjoint(words):
            return (CRITICAL, False) if self.denies() else None
        return (None if not text or self.denies() or self.is_over() else CRITICAL), False

    def is_past(self) -> bool:
        """Whether its name is that of something before now: what failed then may be over."""
        return not _PAST_WORDS.isdisjoint(words_in(self.about))

    def is_over(self) -> bool:
        """Whether it says only when something was."""
        return self.is_past() and bool(re.fullmatch(_DATE, self.text.strip().lower()))

    def is_trial(self) -> bool:
        """Whether it says that the license is one for a trial, whatever the key's state is."""
        text = one_line(self.text).casefold()
        named = re.search(_TRIAL, " ".join(words_in(self.about))) and text and not re.fullmatch(_NO, text)
        return len(text) <= 100 and bool(named or re.search(_TRIAL, text))

    def is_odd_below(self) -> bool:
        """Whether it is the state of a part of the thing, in words that are not known to be good."""
        told = self.deep and tells_state(self.about, _STRICT_STATE_NAMES) and bool(self.text.strip())
        return told and not self.is_detail() and not re.fullmatch(_FINE, one_line(self.text).casefold())

    def is_detail(self) -> bool:
        """Whether it is nothing but a number, a date, a version, a name, or yes: no second state beside a good one."""
        text = one_line(self.text).casefold()
        words = words_in(text)
        others = [word for word in words if word not in _SUBJECT_WORDS]
        if 0 < len(others) < len(words) and all(re.fullmatch(_FINE, word) for word in others):
            return True  # "Ключ подключен"
        return all(re.fullmatch(_NO_STATE, word) for word in (others if SENSELOCK.search(text) else [text]) if word)

    def names_an_error(self) -> bool:
        """Whether it is the number of an error by its name."""
        return not (_ERROR_WORDS | _CODE_WORDS).isdisjoint(words_in(self.about))

    def is_answer(self) -> bool:
        """Whether it may affirm or deny what the thing's name says."""
        return not (self.deep or self.is_over()) and (self.tells_state() or self.is_ours() or self.denies())

    def is_ours(self) -> bool:
        """Whether its name holds nothing but words that are known to tell something of the thing."""
        return _OUR_WORDS.issuperset(words_in(self.about))

    def denies(self) -> bool:
        """Whether it says no, or zero."""
        return bool(re.fullmatch(_NO, one_line(self.text).casefold()))

    def tells_state(self) -> bool:
        """Whether it stands where the thing's state is expected."""
        return not self.deep and (not self.about or tells_state(self.about))


class Candidate(NamedTuple):
    """A text of the report that is about the key, or may be. `sure`: it is the key's record and not just a mention.

    `position` is the first byte of its element, `path` the place as --record takes it.
    """

    statement: Statement
    sure: bool
    position: int
    path: str


def path_of(elements: Iterable[Element]) -> str:
    """The path to the last of these elements, which lead down from the root."""
    return "".join(element.step() for element in elements)


def is_row(element: Element) -> bool:
    """Whether an element is a row of two cells, name and value: `<row><c>SenseLock ключ</c><c>работает</c></row>`."""
    cells = element.children
    return (
        len(cells) == 2 and cells[0].name == cells[1].name and not element.attributes
        and not any(cell.attributes or cell.children for cell in cells)
    )  # fmt: skip


def is_first_cell(element: Element, row: Element) -> bool:
    """Whether an element is the name in a row of two cells."""
    return is_row(row) and row.children[0] is element


def names_of(element: Element) -> dict[str, str]:
    """The names that an element bears in attributes or children, the best first: `<param name="SenseLock ключ" id="1"/>`."""
    if element.labels is not None:
        return element.labels
    if is_row(element):
        return {"name": element.children[0].text()}
    return _labels_among(element.attributes, element.children)


def labels_of(element: Element) -> list[str]:
    """The names that an element bears, without what kind of name each is."""
    return list(names_of(element).values())


LABEL_REACH = 512


def early_labels(element: Element) -> dict[str, str]:
    """The names of an element that is too large for a record: in attributes, or in the children that it begins with."""
    early = [child for child in element.children if child.start - element.start <= LABEL_REACH]
    return _labels_among(element.attributes, early)


def _labels_among(attributes: dict[str, str], children: Sequence[Element]) -> dict[str, str]:
    texts = list(attributes.items())
    seen: dict[str, str] = {}
    for child in children:
        if not child.children:
            # Several names in a row name nothing: which state belongs to which of them would be a guess.
            seen[child.name] = "" if child.name in seen else child.text()
    texts += seen.items()
    found = {(words_in(name) or [""])[-1]: value for name, value in texts if value}
    return {name: found[name] for name in LABEL_NAMES if name in found}


def holds_a_binding(element: Element) -> bool:
    """Whether an element holds, in a place of its own, what is bound: "SenseLock ключ - [работает]", or only its kind."""
    texts = map(one_line, (*element.attributes.values(), *(child.text() for child in element.children)))
    return any(BINDING.fullmatch(text) or works_by(text) for text in texts)


def is_named_first(element: Element) -> bool:
    """Whether no name of something else stands before the key's among the names of an element, the best of which are first."""
    for kind, label in names_of(element).items():
        words = words_in(label)
        if names_the_key(label):
            return True
        is_type = kind in ("type", "kind", "тип", "вид") and _TYPES.issuperset(words)
        is_code = kind in ("id", "key", "ключ") and re.fullmatch(r"[\w./:{}-]*[0-9][\w./:{}-]*", label, re.ASCII)
        if not (is_type or is_code or is_number(label) or _SUBJECT_WORDS.issuperset(words)):
            return False
    return False


def is_undenied(element: Element) -> bool:
    """Whether no name that the key bears beside that of its tag is one of another thing, says that there is none, or a trial."""
    for kind, label in names_of(element).items():
        is_proper = kind in _PROPER_NAMES and not is_number(label)
        if (is_proper and _SUBJECT_WORDS.isdisjoint(words_in(label))) or re.search(_DENIAL, label.casefold()):
            return False
    return not any(says_failure(label.casefold()) for label in labels_of(element))


def is_number(text: str) -> bool:
    """Whether a name is only a number, of a device or of a row."""
    return bool(re.fullmatch(r"[0-9A-Fa-f:.{}-]*[0-9][0-9A-Fa-f:.{}-]*", text))


def is_label(name: str) -> bool:
    """Whether a name is one for the name of something: `name`, `key_type`."""
    return (words_in(name) or [""])[-1] in LABEL_NAMES


def aspects_of(thing: Element, labels: Sequence[str], path: str) -> Iterator[Aspect]:
    """What a named thing says: its attributes, its text, and those of its children that are texts or name-value pairs.

    Then, as deep ones, all that stands below those; a number or a state there is that of what it stands in.
    """
    for name, text in thing.strings():
        if text not in labels:
            yield Aspect(name, text, f"{path}/@{name}" if name else path, thing.place(name))
    if is_row(thing):
        value = thing.children[1]
        yield Aspect("", value.text(), path + value.step(), value.place())
        return
    deep: list[tuple[Element, str, str]] = []
    for child in thing.children:
        below, label = path + child.step(), next(iter(labels_of(child)), "")
        if not child.children and not child.attributes and child.text() not in labels:
            yield Aspect(child.name, child.text(), below, child.place())
            continue
        its = _owner_in(child.name)
        for name, text in child.strings():
            if text != label and text not in labels:
                # <item name="Состояние">работает</item>: the text of a thing with a name is what its name says.
                named = tells_state(name or child.name) or not (name or its)
                about = label if label and named else its + name if name else child.name
                yield Aspect(about, text, f"{below}/@{name}" if name else below, child.place(name))
        for value in child.children:
            if label and not value.children and tells_state(value.name):
                yield Aspect(label, value.text(), below + value.step(), value.place())
            elif not label or value.text() != label:
                deep.append((value, below + value.step(), f"{label} " if label else its))
    while deep:
        element, below, its = deep.pop()
        label = next(iter(labels_of(element)), "")
        own = f"{label} " if label else _owner_in(element.name)
        for name, text in element.strings():
            if text != label:
                said, of = (name, own) if name else (element.name, its)
                owned = (STATE_NAMES | _COUNTS).issuperset(words_in(said))
                about = label if label and tells_state(said) else of + said if owned else said
                yield Aspect(about, text, f"{below}/@{name}" if name else below, element.place(name), True)
        deep += ((child, below + child.step(), own) for child in element.children)


def _owner_in(name: str) -> str:
    """The beginning of a name that tells whose a number or a state is, "" where its element is of no kind of its own."""
    return "" if _THING_WORDS.issuperset(words_in(name)) else f"{name} "


def records_of(element: Element, path: str, borne: bool, around: Iterable[str]) -> Iterator[Candidate]:
    """The record of the key, if the element is named after it and tells a state, and what contradicts it.

    `around` are the names of the element's parent; `borne`: what stands here may only bear the key's name.
    """
    labels = labels_of(element)
    yield from _named_failure(element, labels, path, borne)
    if not borne:
        yield from protection_failures(element, labels, path)
    by_tag = names_the_key(element.name)
    if by_tag or any(map(names_the_key, labels)):
        # "SenseLock" as one of several names, or as a detail of another thing, does not make a state that of the key.
        thing = by_tag or (_THING_WORDS | _SUBJECT_WORDS).issuperset(words_in(element.name))
        sure = thing and not borne and not bears(labels, True) and (is_undenied(element) if by_tag else is_named_first(element))
        if element.labels is not None:  # what fails in it may stand anywhere
            statement = unrecognised(TOO_LARGE, labels[0] if labels else element.name, element.place())
            yield Candidate(statement, sure, element.start, path)
        yield from _from_aspects(list(aspects_of(element, labels, path)), sure, element, "")
        return
    if mentions_binding((element.name, *labels, *around)):
        aspects = list(aspects_of(element, labels, path))
        kind = next((text for text in map(one_line, (*labels, *(item.text for item in aspects))) if works_by(text)), "")
        if kind:
            aspects = [item for item in aspects if one_line(item.text) != kind]
            yield from _from_aspects(aspects, not borne and not bears((element.name, *labels), True), element, kind)
            return
    # What an attribute, or a value with a name, says under the key's own name: senselock="...", "SenseLock error".
    named = [Aspect("" if names_the_key(name) else name, text, f"{path}/@{name}", element.place(name))
             for name, text in element.attributes.items() if speaks_of_the_key(name)]  # fmt: skip
    label = next(iter(labels), "")
    if speaks_of_the_key(label):
        named += (item._replace(about=label) for item in aspects_of(element, labels, path) if item.tells_state())
    elif speaks_of_the_key(element.name):
        named += (item._replace(about=element.name) for item in aspects_of(element, labels, path) if item.tells_state())
    yield from _from_aspects(named, not borne and not bears((element.name,), True), element, "")


def _named_failure(element: Element, labels: Sequence[str], path: str, borne: bool) -> Iterator[Candidate]:
    """The failure that is the name of a value (<alert name="SenseLock не найден" active="0"/>), unless the value denies it.

    Where there is a value, it is not surely affirmed: nobody knows which of its words do so.
    """
    label = next(filter(names_a_failure, labels), "")
    if not label or (speaks_of_the_key(label) and _DENYING.isdisjoint(words_in(label))):
        return  # "SenseLock error" says nothing where it has no value, and what the value says is read with it as the name
    answers = [item for item in aspects_of(element, labels, path) if item.is_answer()]
    if answers and all(item.denies() and (item.tells_state() or item.is_ours()) for item in answers):
        return
    said = f"{label}: {answers[0].text}" if answers else label
    sure = not (answers or borne or bears((element.name,), True) or element.labels is not None)
    yield Candidate(failing(said, element.place()), sure, element.start, path)


def protection_failures(element: Element, labels: Sequence[str], path: str) -> Iterator[Candidate]:
    """What an element near the key says of a failure of the whole protection: `<protection state="не работает">`.

    It is no record of the key, but a key that works contradicts it.
    """
    if bears((element.name, *labels), False):
        return
    named = next((name for name in (element.name, *labels[:1]) if names_the_protection(name)), "")
    for aspect in aspects_of(element, labels, path) if named else ():
        told = aspect._replace(about=named) if aspect.tells_state() else aspect
        if not told.deep and (aspect.tells_state() or told.is_ours()) and told.says()[0] == CRITICAL:
            number = told.text if told.names_an_error() else ""
            if (error_code(told.text) or error_code(number, alone=True)) not in _SIDE_MODULES:
                yield Candidate(failing(told.text, told.place, number), False, element.start, told.path)
    for name, text in () if named else element.strings():
        if re.match(PROTECTION_ERROR, text.strip().casefold()) and error_code(text) not in (0, *_SIDE_MODULES):
            yield Candidate(failing(text, element.place(name)), False, element.start, f"{path}/@{name}" if name else path)


def names_the_protection(name: str) -> bool:
    """Whether a name is that of the protection or of the binding, or of an error of it."""
    words = words_in(name)
    return not _PROTECTION_WORDS.isdisjoint(words) and _OUR_WORDS.issuperset(words)


def mentions_binding(names: Iterable[str]) -> bool:
    """Whether one of the names holds a word for a binding."""
    return any(not _BINDING_WORDS.isdisjoint(words_in(name)) for name in names)


def speaks_of_the_key(name: str) -> bool:
    """Whether a name is that of the key, or of an error or the presence of the key: `senselock_error`."""
    return (
        len(name) <= 100 and bool(SENSELOCK.search(name))
        and (_SUBJECT_WORDS | _DETAIL_WORDS).issuperset(words_in(name)) and (names_the_key(name) or not tells_state(name))
    )  # fmt: skip


def _from_aspects(aspects: Sequence[Aspect], sure: bool, element: Element, kind: str) -> Iterator[Candidate]:
    """The state that a thing's aspects tell: a failure anywhere first, then what stands where a state is expected.

    A failure that is not surely one of the thing is a candidate of its own, and contradicts a good state. `kind` is the
    kind of a binding whose kind and state stand in two places: `<Binding><subject>локальная</subject><state>...`.
    """
    bad: list[Aspect] = []
    doubts: list[Aspect] = []
    good, odd, guesses, trial, below = [], [], [], [], []
    for aspect in aspects:
        state, certain = aspect.says()
        certain = certain and not aspect.deep
        telling = aspect.tells_state()
        if state == UNKNOWN and kind and telling and tells_state(aspect.about, _STRICT_STATE_NAMES):
            state = judge_binding(f"{kind} - {bracketed(aspect.text)}").state
        if state == CRITICAL:
            (bad if certain else doubts).append(aspect)
        elif state == OK:
            guesses.append(aspect)
            if telling:
                good.append(aspect)
        elif aspect.is_trial():
            trial.append(aspect)
        elif telling:
            odd.append(aspect)
        elif aspect.is_odd_below():
            below.append(aspect)
    if good:
        # Beside a good state a version or a number is no second state; what is called a state is one.
        odd = [item for item in odd if tells_state(item.about, _STRICT_STATE_NAMES) or not item.is_detail()]
        odd += trial + below
    for found in doubts[:1]:
        said = found.text if state_in(found.text) == CRITICAL or not found.about else f"{found.about}: {found.text}"
        yield Candidate(failing(said, found.place, found.text), False, element.start, found.path)
    if not bad + odd + guesses:
        return
    found = (bad or odd or good or guesses)[0]
    if bad:
        statement = failing(found.text, found.place, found.text if found.names_an_error() else "")
    elif odd:
        what = f"the state of the SenseLock record is {'not known' if found.text.strip() else 'empty'}"
        statement = unrecognised(what, found.text, found.place)
    elif element.labels is not None:
        statement = unrecognised(TOO_LARGE, found.text, found.place)
    elif kind:
        statement = judge_binding(f"{kind} - {bracketed(found.text)}", found.place)
    else:
        statement = Statement(OK, works_by("SenseLock ключ"), WORKS, "", found.place)
    yield Candidate(statement, sure and bool(bad or odd or good), element.start, found.path)


def bracketed(text: str) -> str:
    """A state in brackets, as the license page shows it."""
    text = one_line(text)
    return text if text.startswith("[") else f"[{text}]"


def is_telling(tree: Element) -> bool:
    """Whether any text in a part of the report can be about the key; most parts hold none that can."""
    waiting = [tree]
    for element in waiting:
        texts = (element.name, *element.attributes, *element.attributes.values(), *element.texts)
        if any(map(TELLING.search, (*texts, *(element.labels or {}).values()))):
            return True
        waiting += element.children
    return False


NOTHING, IN_A_TITLE, SOFTWARE, OTHERS, DEFINITIONS = range(5)
"""What stands in an element may only bear the key's name: never, where it has no place of its own name ("Лицензии и
пользователи"), where no binding is told in full, always; in definitions it is not even a failure."""


def bearing_of(element: Element, is_root: bool) -> int:
    """Which of these an element is by its own name and by the names that it bears."""
    if not _DEFINITIONS.isdisjoint(words_in(element.name)):
        return DEFINITIONS
    bearing = OTHERS if bears((element.name,), False, is_root) else SOFTWARE if bears((element.name,), True, is_root) else NOTHING
    for label in () if is_named_by_people(element, is_root) else labels_of(element):
        if bears((label,), True):
            first, *others = re.split(r"[,;/&]|\bи\b|\band\b", label, maxsplit=1)
            whole = OTHERS if bears((label,), False) else SOFTWARE
            bearing = max(bearing, IN_A_TITLE if others and first.strip() and not bears((first,), True) else whole)
    return bearing


def is_named_by_people(element: Element, is_root: bool = False) -> bool:
    """Whether the names that an element bears are those of a customer, a machine or a product, or of the whole report."""
    return is_root or (bool(words_in(element.name)) and _NAMED_BY_PEOPLE.issuperset(words_in(element.name)))


def candidates_in(tree: Element, around: Sequence[Element]) -> Iterator[Candidate]:
    """Everything in a part of the report that is about the key, or may be. `around` leads to it from the root.

    Beside a key that works, what an element says that it stands in is heard, too: of a large one, its attributes.
    """
    works = False
    for candidate in _candidates_of(tree, around):
        works = works or (candidate.sure and candidate.statement.state == OK)
        yield candidate
    for number, element in enumerate(around if works else ()):
        yield from protection_failures(element, labels_of(element), path_of(around[: number + 1]))


def _candidates_of(tree: Element, around: Sequence[Element]) -> Iterator[Candidate]:
    bearing = max((bearing_of(element, not number) for number, element in enumerate(around)), default=NOTHING)
    parent = around[-1] if around else None
    waiting = [(tree, path_of((*around, tree)), bearing, parent, tree.inline)]
    while waiting:
        element, path, bearing, parent, inline = waiting.pop()
        if max(bearing, bearing_of(element, not parent)) == DEFINITIONS:
            if element.mentions_the_key():
                yield mention(element, path)
            waiting += [(child, path + child.step(), DEFINITIONS, element, inline) for child in reversed(element.children)]
            continue
        told = list(_statements_of(element, parent, path, OTHERS if inline else bearing))
        around_it = (parent.name, *labels_of(parent)) if parent else ()
        by_title = bearing == IN_A_TITLE and (names_the_key(element.name) or mentions_binding((element.name,)))
        told += records_of(element, path, inline or (bearing > NOTHING and not by_title), around_it)
        if not told and element.mentions_the_key():
            told.append((None if bearing or inline else failing_mention(element, path)) or mention(element, path))
        yield from told
        bearing, inline = max(bearing, bearing_of(element, not parent)), inline or element.is_mixed()
        waiting += [(child, path + child.step(), bearing, element, inline) for child in reversed(element.children)]


def _statements_of(element: Element, parent: Element | None, path: str, bearing: int) -> Iterator[Candidate]:
    """What the texts of an element say of the key, each by itself."""
    labels = labels_of(element)
    for name, text in element.strings():
        owner = element if name else parent
        if one_line(text)[1:] == "ривязка:" and owner and holds_a_binding(owner):
            continue  # the name of the text beside it
        is_name = is_label(name or element.name) or (not name and parent is not None and is_first_cell(element, parent))
        # Of the name of a value the value decides, where it is read: not of a name that is one of several, or far from it.
        read_there = is_name and owner is not None and owner.labels is None and text in labels_of(owner)
        statement = statement_in(text, element.place(name), read_there)
        if not statement:
            continue
        names = (element.name, name, *(item for item in labels if item != text and not is_named_by_people(element)))
        has_its_name = names_the_key(element.name) or mentions_binding((element.name, name, *labels))
        borne = bearing >= OTHERS or (bearing == IN_A_TITLE and not has_its_name) or bears(names, False, not parent)
        # A failure in the words of a name may be one: the value to it may stand anywhere.
        may_be_a_name = (is_name or speaks_of_the_key(text)) and not BINDING.fullmatch(one_line(text))
        sure = not borne and not (statement.state == CRITICAL and may_be_a_name)
        yield Candidate(statement, sure, element.start, f"{path}/@{name}" if name else path)


def failing_mention(element: Element, path: str) -> Candidate | None:
    """A place that names SenseLock in words of its own, in which the key fails by a text that a server documents for it."""
    for name, text in element.strings():
        if is_label(name or element.name):
            continue  # of a name the value decides
        folded = one_line(text).casefold()
        if advice_for(text) and error_code(text) not in _SIDE_MODULES and re.search(_OF_THE_KEY, folded):
            return Candidate(failing(text, element.place(name)), False, element.start, f"{path}/@{name}" if name else path)
    return None


def mention(element: Element, path: str) -> Candidate:
    """A place that names SenseLock and tells nothing of it."""
    text = next((text for _, text in element.strings() if SENSELOCK.search(text)), f"<{element.name}>")
    return Candidate(unrecognised("no state", text, element.place()), False, element.start, path)


# --- All of them together -------------------------------------------------------------------------------------


MAX_LISTED = 40


class Findings:
    """What the whole report says of the key: the first candidate of each weight, and some of them for -vv."""

    def __init__(self) -> None:
        self.count = 0
        self.listed: list[Candidate] = []
        self._first: dict[tuple[int, bool], Candidate] = {}

    def add(self, candidate: Candidate) -> None:
        """Take one more candidate into account."""
        self.count += 1
        if len(self.listed) < MAX_LISTED:
            self.listed.append(candidate)
        elif candidate.sure:
            # A record is what is looked for: it takes the place of the last mention.
            last = next((number for number in reversed(range(MAX_LISTED)) if not self.listed[number].sure), None)
            if last is not None:
                self.listed[last] = candidate
        weight = candidate.statement.state, candidate.sure
        if weight not in self._first or candidate.position < self._first[weight].position:
            self._first[weight] = candidate

    def verdict(self) -> Statement:
        """The statement of the report. Only records count as OK, and only when nothing contradicts them."""
        bad, good, odd = (self._first.get((state, True)) for state in (CRITICAL, OK, UNKNOWN))
        doubtful = self._first.get((CRITICAL, False))
        if bad or (doubtful and not good):
            return _with_place((bad or doubtful).statement)  # type: ignore[union-attr]
        if doubtful and good:
            sentence = f"the report contradicts itself: the key works by {good.statement.place}, but {doubtful.statement.place} "
            sentence += f"says '{doubtful.statement.text}': see -vv, then pin the record with --record"
            return good.statement._replace(state=UNKNOWN, sentence=sentence)
        if odd:
            advice = "" if good else ": see -vv; if it means that the key works, give --record and --working"
            return _with_place(odd.statement, advice)
        if good:
            return good.statement
        guess = self._first.get((OK, False))
        if guess:
            sentence = f"'{WORKS}' stands beside SenseLock, but not surely as the key's state: see -vv, then pin it with --record"
            return _with_place(guess.statement._replace(state=UNKNOWN, sentence=sentence))
        if self.count:
            sentence = "the report mentions SenseLock, but tells no state of it that is known: see -vv, then pin it with --record"
            return Statement(UNKNOWN, sentence, "")
        sentence = "the report has no record of a SenseLock key: the server did not detect it when the report was made"
        return Statement(CRITICAL, f"{sentence}; {CHECK_KEY}", "")

    def lines(self) -> tuple[str, ...]:
        """The candidates for -vv: records before mentions, each in the order of the report."""
        names = {OK: "works", CRITICAL: "fails", UNKNOWN: "not known"}
        shown = sorted(self.listed, key=lambda candidate: (not candidate.sure, candidate.position))
        more = (f"and {self.count - len(shown)} more",) if self.count > len(shown) else ()
        return (*(f"{'record' if item.sure else 'mention'} {item.path}: {names[item.statement.state]}: {item.statement.text}"
                  for item in shown), *more)  # fmt: skip


def _with_place(statement: Statement, advice: str = "") -> Statement:
    return statement._replace(sentence=f"{statement.sentence} ({statement.place}){advice}")


# --- A record that the operator pins --------------------------------------------------------------------------


class Pin(NamedTuple):
    """The place that --record names: the elements from the root with their numbers, and an attribute or ""."""

    steps: tuple[tuple[str, int], ...]
    attribute: str
    path: str


def parse_pin(path: str) -> Pin | None:
    """`/a/b[2]/@c` as -vv prints it. None = this is no such path."""
    if not re.fullmatch(r"(?:/[^/@\[\]\s]+(?:\[[1-9][0-9]{0,8}\])?)+(?:/@[^/@\[\]\s]+)?", path) or len(path) > 2000:
        return None
    elements, _, attribute = path.partition("/@")
    steps = (re.fullmatch(r"([^\[]+)(?:\[([0-9]+)\])?", step) for step in elements[1:].split("/"))
    return Pin(tuple((step[1], int(step[2] or 1)) for step in steps if step), attribute, path)


def may_work(text: str) -> bool:
    """Whether a text may mean that the key works, in words that are not known or that were not given."""
    words = [word for word in words_in(text) if word not in _SUBJECT_WORDS]
    return len(text) <= 100 and not says_failure(text.casefold()) and (state_in(text) == OK or means_works("".join(words)))


def judge_pinned(text: str, works: str, path: str) -> Statement:
    """The statement of the value that --record names: it works when it says so in the words known or given."""
    place = f"record {runtime.clean(path, 200)}"
    text = one_line(text)
    binding = statement_in(text, place)
    if text == one_line(works) or (works == WORKS and state_in(text) == OK) or (binding and binding.state == OK):
        return Statement(OK, binding.sentence if binding and binding.state == OK else works_by("SenseLock ключ"), text, "", place)
    if text and may_work(text):
        what = f"the pinned record is not the text that works, which is '{runtime.clean(works, 60)}'"
        return _with_place(unrecognised(what, text, place), ": if it means that the key works, give it as --working")
    if text:
        return _with_place(failing(text, place, text))
    return _with_place(unrecognised("the pinned record is empty", text, place), ": see -vv, then pin another")
