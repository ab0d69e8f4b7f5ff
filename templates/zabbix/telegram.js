// The script of media_telegram.yaml, which embeds this file word for word (a test compares them;
// `python3 tests/lab/media_type.py` writes it there). Zabbix runs it in Duktape: ECMAScript 5, no let, no arrow functions.
//
// One run tells one chat about one event. It frames the sentence that Zabbix hands over (parameter Message) with the
// alert's name, host, times and runbook, or, when many messages wait for the same chat, tells them all in one digest.
// Rules it keeps: an alarm that can be delivered in a plainer form is delivered in that form; what cannot be delivered
// is thrown, so that Zabbix tries again; the token is in no error and no log line.

var NAME = 'Telegram (Kodeks)',
    BUDGET = 55000, // ms of the media type's 60 s timeout that may be spent waiting
    RETRY_PAUSES = [1000, 2000], // ms after a network error or a 5xx
    LONGEST_TEXT = 4096, // UTF-16 code units after entity parsing, Bot API
    LONGEST_LINE = 512,
    DIGEST_ROWS = 1000, // waiting messages that one digest can cover
    DIGEST_HOSTS = 20, // names listed for an alert
    DIGEST_PAUSE = 2500, // ms for a storm to gather, and for Zabbix to store the tags of the digest before
    DIGEST_AGE = 2, // s after which a message is surely seen by everyone: younger ones wait for the next digest
    DAY = 86400,
    STARTED = Date.now();

// The words of the script itself, and those of Zabbix that stand for a value: severities, units of time, an operator's
// actions. What is not in a list stays as Zabbix hands it over, and so does an event's name with the check's sentence in it.
var PHRASES = {
    en: {
        digest: 'DIGEST', over: 'No longer: ', problem: 'Problem: ', severity: 'Severity: ', since: 'Since: ',
        resolved: 'Resolved: ', duration: 'Duration: ', runbook: 'What to do', cut: ' [cut]', more: ' and {n} more',
        kinds: {}, severities: {}, units: {}, actions: {}
    },
    ru: {
        digest: 'СВОДКА', over: 'Больше не так: ', problem: 'Проблема: ', severity: 'Важность: ', since: 'Начало: ',
        resolved: 'Устранено: ', duration: 'Длилось: ', runbook: 'Развёрнутое описание аварии', cut: ' [обрезано]', more: ' и ещё {n}',
        canceled: 'Zabbix больше не сообщит об этой проблеме: отключены триггер, элемент данных, узел сети или действие. Проблема не устранена.',
        kinds: {UPDATE: 'ИЗМЕНЕНИЕ', CANCELED: 'ОТМЕНА'},
        severities: {
            'Not classified': 'не классифицировано', Information: 'информация', Warning: 'предупреждение', Average: 'средняя',
            High: 'высокая', Disaster: 'чрезвычайная'
        },
        units: {y: ' г', M: ' мес', d: ' д', h: ' ч', m: ' мин', s: ' с'},
        actions: {
            acknowledged: 'подтверждено', unacknowledged: 'подтверждение снято', commented: 'комментарий', closed: 'закрыто',
            'changed severity': 'изменена важность', suppressed: 'подавлено', unsuppressed: 'подавление снято'
        }
    }
};

// --- Text ---------------------------------------------------------------------------------------------------------

// A macro that Zabbix could not fill stays literal or becomes *UNKNOWN*: both mean "nothing".
function filled(text) {
    text = String(text === undefined || text === null ? '' : text).replace(/\r\n?/g, '\n')
        .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g, ' ')
        .replace(/[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]/g, function (found) { return found.length > 1 ? found : '?'; })
        .trim();
    return /^(\{[A-Z$#?][^{}]*\}|\*UNKNOWN\*)$/.test(text) ? '' : text;
}

function oneLine(text) {
    return cut(filled(text).replace(/\s+/g, ' '), LONGEST_LINE, '');
}

// Lines that consist of a label and an unfilled macro say nothing and are left out.
function body(text) {
    return filled(text).split('\n').filter(function (line) {
        return !/^[^:]*:?\s*(\{[A-Z$#?][^{}]*\}|\*UNKNOWN\*)\s*$/.test(line);
    }).join('\n').trim();
}

function escapeHtml(text) {
    return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

// Code units that the character at a position takes in UTF-16. Duktape holds a character from UTF-8 input beyond U+FFFF
// as one unit, one from a JSON escape as two.
function unitsAt(text, position) {
    return text.charCodeAt(position) > 0xffff ? 2 : 1;
}

function units(text) {
    var count = 0, i;
    for (i = 0; i < text.length; i++) {
        count += unitsAt(text, i);
    }
    return count;
}

// At most `most` code units of a text, the mark at its end included, never half a surrogate pair.
function cut(text, most, mark) {
    var count = 0, end = 0, room = most - units(mark);
    if (units(text) <= most) {
        return text;
    }
    while (count + unitsAt(text, end) <= room) {
        count += unitsAt(text, end);
        end++;
    }
    if (/[\ud800-\udbff]/.test(text.charAt(end - 1))) {
        end--;
    }
    return text.substring(0, end) + mark;
}

// Every way a secret may come back in somebody else's text: as it is, percent-encoded (even twice), as HTML or JSON.
function anyForm(secret) {
    return secret.split('').map(function (character) {
        var code = character.charCodeAt(0), hex = code.toString(16);
        hex = hex.length < 2 ? '0' + hex : hex;
        hex = hex.replace(/[a-f]/g, function (digit) { return '[' + digit + digit.toUpperCase() + ']'; });
        return '(?:' + character.replace(/[^\w]/g, '\\$&') + '|%(?:25)*' + hex + '|&#0*' + code + ';?|&#[xX]0*' + hex +
            ';?|\\\\u00' + hex + ')';
    }).join('');
}

function mask(text) {
    text = String(text);
    settings.secrets.forEach(function (secret) {
        text = text.replace(new RegExp(anyForm(secret), 'g'), '<secret>');
    });
    return text.replace(/bot\d{3,}(?::|%(?:25)*3[aA]|&#0*58;?|&#[xX]0*3[aA];?)[\w%;&#<>-]*/g, 'bot<secret>');
}

function warn(text) {
    Zabbix.log(3, '[' + NAME + '] ' + mask(text));
}

// --- Settings and event, from the parameters ------------------------------------------------------------------------

function choice(name, text, allowed) {
    text = filled(text).toLowerCase();
    if (text !== '' && allowed.indexOf(text) < 0) {
        warn('parameter ' + name + ' is none of ' + allowed.join(', ') + ': taking ' + allowed[0]);
    }
    return allowed.indexOf(text) < 0 ? allowed[0] : text;
}

function number(name, text, usual) {
    var found = parseInt(filled(text) || usual, 10);
    if (isNaN(found)) {
        warn('parameter ' + name + ' is no number: taking ' + usual);
    }
    return isNaN(found) ? usual : found;
}

// What is in the token's place when it is none. Where a vault does not give it, 6.0 fills in ****** and 7.0 *UNKNOWN*.
// A message that waits keeps what its macros were when it was made.
function noToken(text) {
    if (/^\{\$[^{}]*\}$/.test(text)) {
        return 'no token: ' + text + ' is not filled in. Add it as a global macro, type "Secret text". In the Test window, which fills ' +
            'in no macro, write the token itself into BotToken';
    }
    return /^\*/.test(text) ? 'no token: the global macro {$TELEGRAM.TOKEN} has the type "Vault secret", and the vault does not ' +
        'give it: choose the type "Secret text"' : 'no token: the global macro {$TELEGRAM.TOKEN} is empty';
}

function readSettings(given) {
    var found = {secrets: [], token: filled(given.BotToken)}, proxy = filled(given.HttpProxy), to;
    settings = found; // from here on warnings are masked
    if (found.token === '' || /^\*+$/.test(found.token)) {
        throw noToken(String(given.BotToken));
    }
    found.secrets = [found.token].concat(found.token.split(':').slice(1)).filter(function (secret) { return secret.length > 5; });
    if (!/^\d+:[\w-]+$/.test(found.token)) {
        throw 'the token in {$TELEGRAM.TOKEN} has not the form that BotFather gives, 123456:ABC-def';
    }
    found.bot = {name: 'Telegram', request: null, proxy: proxy};
    found.zabbix = {name: 'the Zabbix API', request: null, proxy: ''};
    if (/^(?:\w+:\/\/)?[^@\/:]*:.+@/.test(proxy)) {
        found.secrets.push(proxy.replace(/^(?:\w+:\/\/)?[^@\/:]*:(.+)@.*$/, '$1'));
        found.secrets.push(unescape(found.secrets[found.secrets.length - 1]));
    }
    found.secrets = found.secrets.concat(filled(given.ZabbixToken) || []);
    found.address = (filled(given.BotUrl) || 'https://api.telegram.org').replace(/\/+$/, '') + '/bot' + found.token + '/';

    to = filled(given.To).match(/^(-?\d+|@\w+)(?::(\d+))?$/);
    if (to === null) {
        throw 'the recipient "' + oneLine(given.To) + '" is no chat: give its number or @name, and :N for a topic';
    }
    found.to = to[0];
    found.chat = to[1];
    found.thread = to[2];
    found.tag = '__telegram_' + found.to;

    found.tags = readTags(given);
    found.language = choice('Language', filled(given.Language) || spokenBy(found.tags), ['en', 'ru']);
    found.phrases = PHRASES[found.language];
    found.runbooks = filled(given.Runbooks).replace(/\/+$/, '');
    found.followUp = choice('FollowUp', given.FollowUp, ['reply', 'edit', 'new']);
    found.silent = filled(given.SilentSeverities).toLowerCase() || '0,1';
    if (!/^(none|[0-5](\s*,\s*[0-5])*)$/.test(found.silent)) {
        warn('parameter SilentSeverities is no list of numbers 0 to 5 and not "none": taking 0,1');
        found.silent = '0,1';
    }
    found.zabbixUrl = filled(given.ZabbixUrl).replace(/\/+$/, '').replace(/\/api_jsonrpc\.php$/, '');
    found.zabbixToken = filled(given.ZabbixToken);
    found.digestFrom = number('DigestFrom', given.DigestFrom, 5);
    return found;
}

function readEvent(given) {
    var event = {
        source: filled(given.EventSource), id: filled(given.EventId), recoveryId: filled(given.RecoveryId),
        subject: oneLine(given.Subject),
        host: oneLine(given.Host), severity: filled(given.Severity), severityName: oneLine(given.SeverityName),
        since: moment(given.EventDate, given.EventTime), resolved: moment(given.RecoveryDate, given.RecoveryTime),
        duration: filled(given.Duration), runbook: filled(given.RunbookUrl), tags: settings.tags,
        message: body(given.Message), name: oneLine(given.EventName)
    }, action = filled(given.UpdateAction);
    event.kind = filled(given.EventUpdate) === '1' ? 'UPDATE' : filled(given.EventValue) === '0' ? 'RESOLVED' : 'FIRING';
    if (event.kind === 'UPDATE' && action !== '') {
        event.message = event.message.replace(action, function () { return localAction(action); });
    }
    if (/^NOTE: Escalation cancell?ed: /.test(event.message)) {
        // The server's source has no other sign of it: somebody disabled the trigger, its item, host or action; nothing is over.
        event.kind = 'CANCELED';
        event.message = event.message.replace(/^[^\n]*/, function (note) { return settings.phrases.canceled || note; });
    }
    event.alert = oneLine(tagValue(event.tags, 'alert')) || oneLine(given.TriggerName) || event.name;
    event.first = firstMessage(event.tags);
    if (event.runbook === '' && settings.runbooks !== '' && tagValue(event.tags, 'target') === 'kodeks' && /^\w+$/.test(event.alert)) {
        event.runbook = settings.runbooks + '/' + settings.language + '/' + event.alert + '.md';
    }
    return event;
}

function readTags(given) {
    try {
        return JSON.parse(filled(given.EventTags) || '[]').filter(Boolean);
    }
    catch (error) {
        warn('the event\'s tags cannot be read: ' + oneLine(given.EventTags));
        return [];
    }
}

// The language of the template that the event comes from, '' where it has none that this script speaks.
function spokenBy(tags) {
    var language = tagValue(tags, 'language');
    return PHRASES.hasOwnProperty(language) ? language : '';
}

// 2026-11-23, in Russian 23.11.2026.
function moment(date, time) {
    date = filled(date);
    return ((settings.language === 'ru' ? date.split('.').reverse().join('.') : date.replace(/\./g, '-')) + ' ' + filled(time)).trim();
}

function tagValue(tags, name) {
    var found = tags.filter(function (tag) { return tag.tag === name; });
    return found.length > 0 ? found[0].value : '';
}

// What an earlier run wrote down about this problem in this chat: CHAT/MESSAGE, or CHAT/MESSAGE/ALERT/CLOCK for a digest
// that told all that waited, up to this alert id and this time.
function firstMessage(tags) {
    var found = String(tagValue(tags, settings.tag)).match(/^(-?\d+)\/(\d+)(?:\/(\d+)\/(\d+))?$/);
    return found === null ? null : {
        chat: found[1], message: parseInt(found[2], 10), upTo: found[3] ? parseInt(found[3], 10) : 0, at: parseInt(found[4] || '0', 10)
    };
}

// --- The message ----------------------------------------------------------------------------------------------------

function localDuration(text) {
    return text.replace(/(\d+)([yMdhms])/g, function (all, number, unit) {
        return number + (settings.phrases.units[unit] || unit);
    });
}

// What an operator did, such as "acknowledged and commented"; a word that is not in the list stays.
function localAction(text) {
    var known = settings.phrases.actions;
    return Object.keys(known).length === 0 ? text : text.split(/, | and /).map(function (word) {
        return known[word.replace(/ (?:from|until|indefinitely).*$/, '')] || word;
    }).join(', ');
}

// The sentence. A recovery whose sentence is the failure's says what the trigger's tag "resolved" has, or that the failure is
// over, so that nobody takes it for the failure.
function sentence(event) {
    if (event.kind === 'RESOLVED' && (event.message === '' || oneLine(event.message) === event.name)) {
        return oneLine(tagValue(event.tags, 'resolved')) || settings.phrases.over + (event.name || event.alert);
    }
    return event.message || (event.kind === 'FIRING' ? event.name : '');
}

// The message as HTML: what and which alert (in monospace, one touch copies it), host, sentence, facts, link. `alone`:
// nothing it replies to shows the problem, so it must.
function compose(event, alone) {
    var phrases = settings.phrases, after = [], link = '', host = '', headline, html, text, used;
    if (event.source !== '0') {
        headline = event.subject || NAME;
        html = '<b>' + escapeHtml(headline) + '</b>';
        text = event.message;
    }
    else {
        headline = phrases.kinds[event.kind] || event.kind;
        html = '<b>' + headline + '</b> <code>' + escapeHtml(event.alert) + '</code>';
        headline += ' ' + event.alert;
        host = event.host;
        text = sentence(event);
        if (text === event.alert) {
            text = '';
        }
        if (event.kind !== 'FIRING' && alone && text.indexOf(event.name) < 0) {
            after.push(phrases.problem + event.name);
        }
        after = after.concat(facts(event));
        if (/^https?:\/\/[^\s{}]+$/i.test(event.runbook)) {
            link = '<a href="' + escapeHtml(event.runbook) + '">' + phrases.runbook + '</a>';
        }
        else if (event.runbook !== '' && !/\{[$A-Z]/.test(event.runbook)) {
            after.push(phrases.runbook + ': ' + oneLine(event.runbook));
        }
    }
    used = units([headline, host].concat(after).join('\n')) + phrases.runbook.length + 2; // two more line ends
    text = cut(text, LONGEST_TEXT - used, phrases.cut);
    return [html].concat([host, text].concat(after).filter(Boolean).map(escapeHtml), link || []).join('\n');
}

function facts(event) {
    var phrases = settings.phrases, lines = [], old = /[yMdhm]/.test(event.duration);
    if (event.severityName !== '') {
        lines.push(phrases.severity + (phrases.severities[event.severityName] || event.severityName));
    }
    if (event.since !== '') {
        lines.push(phrases.since + event.since);
    }
    if (event.kind === 'RESOLVED' && event.resolved !== '') {
        lines.push(phrases.resolved + event.resolved);
    }
    if (event.duration !== '' && (old || event.kind === 'RESOLVED')) {
        lines.push(phrases.duration + localDuration(event.duration));
    }
    return lines;
}

function isSilent(severity) {
    return settings.silent.split(/\s*,\s*/).indexOf(severity) >= 0;
}

// --- The Bot API ----------------------------------------------------------------------------------------------------

function left() {
    return BUDGET - (Date.now() - STARTED);
}

// Zabbix allows ten HttpRequest objects in a run, so each peer gets one.
function post(peer, url, headers, text) {
    var answer = {status: 0, text: '', json: null};
    try {
        if (peer.request === null) {
            peer.request = new HttpRequest();
            if (peer.proxy !== '') {
                peer.request.setProxy(peer.proxy);
            }
        }
        peer.request.clearHeader();
        headers.forEach(function (header) { peer.request.addHeader(header); });
        answer.text = peer.request.post(url, text) || '';
        answer.status = peer.request.getStatus();
        answer.json = JSON.parse(answer.text);
    }
    catch (error) {
        answer.error = answer.status === 0 ? String(error.message || error) : '';
    }
    return answer;
}

// What an answer says, short enough for the action log.
function describe(peer, answer) {
    if (answer.error) {
        return answer.error;
    }
    if (answer.json !== null && typeof answer.json.description === 'string') {
        return peer.name + ' answers ' + answer.status + ': ' + answer.json.description;
    }
    return 'HTTP ' + answer.status + ', not an answer of ' + peer.name + ': ' +
        cut(mask(answer.text).replace(/\s+/g, ' ').trim(), 200, '...');
}

// One Bot API call and its result. Repeats what may pass: a limit for as long as Telegram asks, a broken way three times.
// `refused` gets any other refusal and the message: true means that it changed the message and the call is made again,
// null that the caller knows what to do (the result is null then), false that this is an error.
function call(method, message, refused) {
    var failures = 0, answer, pause, verdict;
    for (;;) {
        answer = post(settings.bot, settings.address + method, ['Content-Type: application/json'], JSON.stringify(message));
        if (answer.json !== null && answer.json.ok === true) {
            return answer.json.result;
        }
        pause = null;
        if (answer.json !== null && answer.json.parameters && answer.json.parameters.retry_after > 0) {
            pause = answer.json.parameters.retry_after * 1000;
        }
        else if (answer.status === 0 || answer.status >= 500) {
            pause = failures < RETRY_PAUSES.length ? RETRY_PAUSES[failures] : null;
            failures++;
        }
        else if (answer.json !== null && typeof answer.json.description === 'string') {
            verdict = refused(answer, message);
            if (verdict === true) {
                continue;
            }
            if (verdict === null) {
                return null;
            }
        }
        if (pause === null || pause > left()) {
            throw describe(settings.bot, answer);
        }
        Zabbix.sleep(pause);
    }
}

// Delivers in a plainer form what Telegram refuses in the intended one. Each change can be made once.
function mend(answer, message) {
    var description = answer.json.description, moved = answer.json.parameters && answer.json.parameters.migrate_to_chat_id;
    if (moved && String(message.chat_id) !== String(moved)) {
        warn('the group ' + message.chat_id + ' became the supergroup ' + moved + ': change the user\'s media "Send to"');
        message.chat_id = String(moved);
        delete message.reply_parameters; // message numbers of the old group mean others here
    }
    else if (message.message_thread_id && /thread not found|TOPIC_(CLOSED|DELETED|ID_INVALID)/i.test(description)) {
        warn('the topic of ' + settings.to + ' does not take messages (' + description + '): sent without topic');
        delete message.message_thread_id;
    }
    else if (message.reply_parameters && /repl(y|ied)/i.test(description)) {
        delete message.reply_parameters;
    }
    else if (message.parse_mode && /can't parse entities/i.test(description)) {
        warn('Telegram does not take the markup (' + description + '): sent as plain text');
        delete message.parse_mode;
        message.text = message.text.replace(/<[^>]*>/g, '').replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&quot;/g, '"')
            .replace(/&amp;/g, '&');
    }
    else {
        return false;
    }
    return true;
}

// `first` is what the message replies to, or null.
function send(html, silent, first) {
    var message = {
        chat_id: first === null ? settings.chat : first.chat, text: html, parse_mode: 'HTML', link_preview_options: {is_disabled: true},
        disable_notification: silent
    };
    if (settings.thread) {
        message.message_thread_id = parseInt(settings.thread, 10);
    }
    if (first !== null) {
        message.reply_parameters = {message_id: first.message, allow_sending_without_reply: true};
    }
    return call('sendMessage', message, mend);
}

// Whether the first message now reads so; a deleted one cannot be changed.
function edit(html, first) {
    var unchanged = false, result = call('editMessageText', {
        chat_id: first.chat, message_id: first.message, text: html, parse_mode: 'HTML', link_preview_options: {is_disabled: true}
    }, function (answer) {
        unchanged = /message is not modified/i.test(answer.json.description);
        return null;
    });
    return result !== null || unchanged;
}

// --- Storms: one digest -----------------------------------------------------------------------------------------------

// One request to the Zabbix API, with the token in a header or, before 6.4, in the body.
function ask(method, parameters, inBody) {
    var request = {jsonrpc: '2.0', id: 1, method: method, params: parameters}, headers = ['Content-Type: application/json-rpc'];
    if (inBody) {
        request.auth = settings.zabbixToken;
    }
    else {
        headers.push('Authorization: Bearer ' + settings.zabbixToken);
    }
    return post(settings.zabbix, settings.zabbixUrl + '/api_jsonrpc.php', headers, JSON.stringify(request));
}

// The result of a call. What the API refuses is asked once more with the token in the body, which 7.2 and newer do not take
// at all: so the first answer, not the second, tells what is wrong.
function zabbix(method, parameters) {
    var answer = ask(method, parameters, settings.zabbixInBody), second;
    if (!settings.zabbixInBody && answer.json !== null && answer.json.error) {
        second = ask(method, parameters, true);
        if (second.json !== null && second.json.result !== undefined) {
            settings.zabbixInBody = true;
            answer = second;
        }
    }
    if (answer.json === null || answer.json.result === undefined) {
        throw answer.json !== null && answer.json.error ? 'the Zabbix API answers: ' + oneLine(answer.json.error.data) :
            describe(settings.zabbix, answer);
    }
    return answer.json.result;
}

// Messages to this chat. The API can search for a recipient but not compare it, and -100200 is in -100200:7 too.
function alerts(output, parameters) {
    parameters.output = ['sendto'].concat(output);
    parameters.search = {sendto: settings.to};
    parameters.startSearch = true;
    parameters.sortfield = 'alertid';
    return zabbix('alert.get', parameters).filter(function (row) { return row.sendto === settings.to; });
}

function withKind(row) {
    row.kind = parseInt(row.acknowledgeid || '0', 10) > 0 ? 'UPDATE' : parseInt(row.p_eventid || '0', 10) > 0 ? 'RESOLVED' : 'FIRING';
    return row;
}

// Messages that wait to be sent, oldest first. `more` narrows them.
function waiting(more) {
    more.filter = {status: [0, 3]};
    more.sortorder = 'ASC';
    more.limit = DIGEST_ROWS;
    return alerts(['alertid', 'clock', 'eventid', 'p_eventid', 'acknowledgeid'], more).map(withKind);
}

// The newest digest sent to this chat, from the tags it left on the events of the messages sent last; null without.
function lastDigest() {
    var newest = null, sent = alerts(['eventid'], {
        filter: {status: 1}, time_from: Math.floor(Date.now() / 1000) - DAY, sortorder: 'DESC', limit: 20
    }).map(function (row) { return row.eventid; });
    if (sent.length === 0) {
        return null;
    }
    zabbix('event.get', {output: ['eventid'], eventids: sent, selectTags: 'extend'}).forEach(function (event) {
        var found = firstMessage(event.tags);
        if (found !== null && found.upTo > 0 && (newest === null || found.upTo > newest.upTo)) {
            newest = found;
        }
    });
    return newest;
}

// What is to be done about this event in a storm: {told: PLACE} when a digest told it already, {html, silent, upTo, at}
// for a digest to be sent now, null when the event is to be told by itself.
function digestFor(event) {
    var own = waiting({eventids: [event.kind === 'RESOLVED' ? event.recoveryId : event.id]}).filter(function (row) {
            return row.kind === event.kind;
        })[0], digest, rows, at;
    function covered() {
        digest = lastDigest();
        return digest !== null && parseInt(own.alertid, 10) <= digest.upTo && parseInt(own.clock, 10) <= digest.at;
    }
    if (!own) {
        return null;
    }
    if (covered()) {
        return {told: digest};
    }
    if (waiting({}).length < settings.digestFrom) {
        return null;
    }
    Zabbix.sleep(DIGEST_PAUSE);
    if (covered()) {
        return {told: digest};
    }
    at = Math.floor(Date.now() / 1000) - DIGEST_AGE;
    rows = waiting({}).filter(function (row) { return parseInt(row.clock, 10) <= at; });
    return rows.some(function (row) { return row.alertid === own.alertid; }) ? digestOf(rows, at) : null;
}

function digestOf(rows, at) {
    var ids = [], events = {}, over = {}, groups = {}, counts = {FIRING: 0, RESOLVED: 0, UPDATE: 0}, silent = true;
    rows.forEach(function (row) {
        row.problem = row.kind === 'RESOLVED' ? row.p_eventid : row.eventid;
        if (over[row.problem] === undefined) {
            ids.push(row.problem);
        }
        over[row.problem] = over[row.problem] === true || row.kind === 'RESOLVED';
    });
    zabbix('event.get', {
        output: ['eventid', 'name', 'severity'], eventids: ids, selectTags: ['tag', 'value'], selectHosts: ['name']
    }).forEach(function (event) { events[event.eventid] = event; });
    rows.forEach(function (row) {
        var event = events[row.problem] || {name: '?', severity: '5', tags: [], hosts: []}, title;
        silent = silent && isSilent(String(event.severity));
        if (row.kind === 'FIRING' && over[row.problem]) {
            return; // came and went: told as resolved
        }
        title = (settings.phrases.kinds[row.kind] || row.kind) + ' ' + oneLine(tagValue(event.tags, 'alert') || event.name);
        counts[row.kind]++;
        groups[title] = groups[title] || [];
        groups[title].push(event.hosts.map(function (host) { return oneLine(host.name); }).join(', '));
    });
    return {html: composeDigest(groups, counts), silent: silent, upTo: rows[rows.length - 1].alertid, at: at};
}

function composeDigest(groups, counts) {
    var headline = settings.phrases.digest + ': ' + ['FIRING', 'RESOLVED', 'UPDATE'].filter(function (kind) {
            return counts[kind] > 0;
        }).map(function (kind) { return counts[kind] + ' ' + (settings.phrases.kinds[kind] || kind); }).join(', '),
        lines = Object.keys(groups).sort().map(function (title) {
            var hosts = groups[title].sort(), shown = hosts.slice(0, DIGEST_HOSTS).filter(Boolean).join(', ');
            return title + ' (' + hosts.length + ')' + (shown ? ': ' + shown : '') + (hosts.length > DIGEST_HOSTS ?
                settings.phrases.more.replace('{n}', hosts.length - DIGEST_HOSTS) : '');
        });
    return '<b>' + escapeHtml(headline) + '</b>\n' +
        escapeHtml(cut(lines.join('\n'), LONGEST_TEXT - units(headline) - 1, settings.phrases.cut));
}

// --- One run ----------------------------------------------------------------------------------------------------------

function remember(place) {
    var result = {tags: {}};
    if (place !== null) {
        result.tags[settings.tag] = place.chat + '/' + place.message + (place.upTo ? '/' + place.upTo + '/' + place.at : '');
    }
    return JSON.stringify(result);
}

// Tells the event and returns what Zabbix shall keep.
function tell(event) {
    var known = settings.followUp === 'new' ? null : event.first, digest = null, message;
    if (event.source === '0' && settings.zabbixUrl !== '' && settings.zabbixToken !== '' && settings.digestFrom > 1) {
        try {
            digest = digestFor(event);
        }
        catch (error) {
            warn('no digest, each message by itself: ' + error);
        }
    }
    if (digest !== null && digest.told) {
        return remember(digest.told);
    }
    if (digest !== null) {
        message = send(digest.html, digest.silent, null);
        return remember({chat: String(message.chat.id), message: message.message_id, upTo: digest.upTo, at: digest.at});
    }
    if (known !== null && settings.followUp === 'edit' && (event.kind === 'UPDATE' || event.kind === 'RESOLVED') && !known.upTo) {
        if (edit(compose(event.kind === 'UPDATE' ? goingOn(event) : event, true), known)) {
            return remember(null);
        }
        known = null;
    }
    message = send(compose(event, known === null), isSilent(event.severity), known);
    return remember(event.first === null && event.kind !== 'RESOLVED' && event.source === '0' ?
        {chat: String(message.chat.id), message: message.message_id} : null);
}

// An update written into the message about the problem, which stays one about a problem.
function goingOn(event) {
    var problem = JSON.parse(JSON.stringify(event));
    problem.kind = 'FIRING';
    problem.message = event.name + '\n' + event.message;
    return problem;
}

var settings = {secrets: []};
try {
    var given = JSON.parse(value);
    settings = readSettings(given);
    return tell(readEvent(given));
}
catch (error) {
    error = mask(error);
    if (/execution timeout|Timeout was reached/.test(error)) {
        error = 'no answer within the time of the script (' + error + ')';
    }
    warn('not sent: ' + error);
    throw error;
}
