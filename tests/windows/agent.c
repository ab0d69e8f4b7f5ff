/* A Windows agent in miniature: it starts command lines as NSClient++ and the Zabbix agents start them and answers with
 * what an engine gets. Requests come on stdin, answers go to stdout; both are fields: a length of 4 bytes, then the bytes.
 *
 *   request: WAY, COMMAND (UTF-8), FOLDER, VARIABLES (NAME=VALUE, one a line), MILLISECONDS
 *   answer:  exit code (or "late", or "error N"), stdout, stderr
 *
 * WAY: "direct"  CreateProcess, stdout and stderr apart, stdin empty (NSClient++: CEF process::execute_process)
 *      "zabbix"  cmd /C "COMMAND", stdout and stderr in one pipe, no stdin, in a job (Zabbix: zbxexec/execute.c)
 *      "start"   starts it and goes on; the answer is its process id
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

typedef struct { char *bytes; DWORD length; } Text;
typedef struct { HANDLE from; Text text; } Reader;

static void whole(HANDLE file, void *bytes, DWORD length, int writing)
{
    DWORD done;
    for (char *at = bytes; length; at += done, length -= done)
        if (!(writing ? WriteFile(file, at, length, &done, NULL) : ReadFile(file, at, length, &done, NULL)) || !done)
            ExitProcess(0); /* the test has ended */
}

static char *ask(void)
{
    DWORD length;
    whole(GetStdHandle(STD_INPUT_HANDLE), &length, 4, 0);
    char *text = calloc(1, length + 1);
    whole(GetStdHandle(STD_INPUT_HANDLE), text, length, 0);
    return text;
}

static void answer(const void *bytes, DWORD length)
{
    whole(GetStdHandle(STD_OUTPUT_HANDLE), &length, 4, 1);
    whole(GetStdHandle(STD_OUTPUT_HANDLE), (void *)bytes, length, 1);
}

static WCHAR *wide(const char *text)
{
    int length = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
    WCHAR *result = calloc(length, sizeof(WCHAR));
    MultiByteToWideChar(CP_UTF8, 0, text, -1, result, length);
    return result;
}

static DWORD WINAPI read_all(void *argument)
{
    Reader *reader = argument;
    DWORD got;
    char piece[4096];
    while (ReadFile(reader->from, piece, sizeof piece, &got, NULL) && got) {
        reader->text.bytes = realloc(reader->text.bytes, reader->text.length + got);
        memcpy(reader->text.bytes + reader->text.length, piece, got);
        reader->text.length += got;
    }
    return 0;
}

static void set_variables(char *variables, int present)
{
    for (char *line = strtok(variables, "\n"); line; line = strtok(NULL, "\n")) {
        char *equals = strchr(line, '=');
        *equals = 0;
        SetEnvironmentVariableW(wide(line), present && equals[1] ? wide(equals + 1) : NULL);
        *equals = '=';
    }
}

static HANDLE pipe_end(HANDLE *theirs, int they_write)
{
    HANDLE readable, writable;
    SECURITY_ATTRIBUTES inherited = {sizeof inherited, NULL, TRUE};
    CreatePipe(&readable, &writable, &inherited, 0);
    HANDLE ours = they_write ? readable : writable;
    *theirs = they_write ? writable : readable;
    SetHandleInformation(ours, HANDLE_FLAG_INHERIT, 0);
    return ours;
}

static void run(const char *way, const char *command, const char *folder, char *variables, DWORD limit)
{
    STARTUPINFOW start = {.cb = sizeof start};
    PROCESS_INFORMATION child;
    Reader readers[2] = {0};
    HANDLE threads[2] = {0}, job = NULL;
    int zabbix = !strcmp(way, "zabbix"), waits = strcmp(way, "start");
    char *line = malloc(strlen(command) + 20);
    sprintf(line, zabbix ? "cmd /C \"%s\"" : "%s", command);
    if (waits) {
        start.dwFlags = STARTF_USESTDHANDLES;
        readers[0].from = pipe_end(&start.hStdOutput, 1);
        start.hStdError = start.hStdOutput;
        if (!zabbix) {
            readers[1].from = pipe_end(&start.hStdError, 1);
            CloseHandle(pipe_end(&start.hStdInput, 0));
        }
    }
    char *again = strdup(variables);
    set_variables(variables, 1);
    BOOL started = CreateProcessW(NULL, wide(line), NULL, NULL, TRUE, CREATE_SUSPENDED | CREATE_NO_WINDOW, NULL, wide(folder), &start, &child);
    DWORD error = GetLastError(), code = 0;
    set_variables(again, 0);
    if (start.hStdInput) CloseHandle(start.hStdInput);
    if (start.hStdError && start.hStdError != start.hStdOutput) CloseHandle(start.hStdError);
    if (start.hStdOutput) CloseHandle(start.hStdOutput);
    if (started && zabbix) {
        job = CreateJobObjectW(NULL, NULL);
        AssignProcessToJobObject(job, child.hProcess);
    }
    if (started) ResumeThread(child.hThread);
    for (int i = 0; i < 2 && started; i++)
        if (readers[i].from) threads[i] = CreateThread(NULL, 0, read_all, &readers[i], 0, NULL);
    char result[40];
    if (!started)
        sprintf(result, "error %lu", error);
    else if (!waits)
        sprintf(result, "%lu", child.dwProcessId);
    else if (WaitForSingleObject(child.hProcess, limit) == WAIT_OBJECT_0) {
        GetExitCodeProcess(child.hProcess, &code);
        sprintf(result, "%ld", (long)code);
    } else {
        strcpy(result, "late");
        if (job) TerminateJobObject(job, 0);
        TerminateProcess(child.hProcess, 0);
    }
    for (int i = 0; i < 2; i++)
        if (threads[i] && WaitForSingleObject(threads[i], 3000) != WAIT_OBJECT_0) {
            strcat(result, " open"); /* a grandchild holds the pipe */
            CancelSynchronousIo(threads[i]);
            TerminateThread(threads[i], 0);
        }
    answer(result, strlen(result));
    for (int i = 0; i < 2; i++) answer(readers[i].text.bytes, readers[i].text.length);
    if (started) { CloseHandle(child.hProcess); CloseHandle(child.hThread); }
    if (job) CloseHandle(job);
}

int main(void)
{
    /* What it has started ends with it, even if the test is killed. */
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE};
    HANDLE job = CreateJobObjectW(NULL, NULL);
    SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits);
    AssignProcessToJobObject(job, GetCurrentProcess());
    for (;;) {
        char *way = ask(), *command = ask(), *folder = ask(), *variables = ask(), *limit = ask();
        run(way, command, folder, variables, atoi(limit));
    }
}
