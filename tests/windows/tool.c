/* A forwarder's program for Windows, as documented: it prints what the file NAME.txt beside it holds. With `-r FILE` or
 * `-r=FILE` it writes that there instead and prints nothing, as the clients of VirtualHere do. If NAME.sleep is beside it, it
 * never ends; if its arguments are `--service NAME`, it is that service. NAME.args gets the arguments of its last run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

static SERVICE_STATUS_HANDLE handle;
static SERVICE_STATUS status = {.dwServiceType = SERVICE_WIN32_OWN_PROCESS, .dwControlsAccepted = SERVICE_ACCEPT_STOP};

static void WINAPI control(DWORD code)
{
    if (code == SERVICE_CONTROL_STOP) {
        status.dwCurrentState = SERVICE_STOPPED;
        SetServiceStatus(handle, &status);
        ExitProcess(0);
    }
}

static void WINAPI serve(DWORD count, WCHAR **arguments)
{
    (void)count;
    handle = RegisterServiceCtrlHandlerW(arguments[0], control);
    status.dwCurrentState = SERVICE_RUNNING;
    SetServiceStatus(handle, &status);
}

static FILE *beside(const WCHAR *suffix, const WCHAR *mode)
{
    WCHAR path[1024];
    GetModuleFileNameW(NULL, path, 1000);
    wcscpy(wcsrchr(path, L'.'), suffix);
    return _wfopen(path, mode);
}

int wmain(int count, WCHAR **arguments)
{
    if (count == 3 && !wcscmp(arguments[1], L"--service")) {
        SERVICE_TABLE_ENTRYW table[] = {{arguments[2], serve}, {NULL, NULL}};
        return !StartServiceCtrlDispatcherW(table);
    }
    FILE *given = beside(L".args", L"w, ccs=UTF-8"), *answer = stdout, *text = beside(L".txt", L"rb");
    for (int i = 1; i < count; i++) {
        fwprintf(given, L"%ls\n", arguments[i]);
        if (!wcsncmp(arguments[i], L"-r=", 3)) answer = _wfopen(arguments[i] + 3, L"wb");
        if (!wcscmp(arguments[i], L"-r") && i + 1 < count) answer = _wfopen(arguments[i + 1], L"wb");
    }
    fclose(given);
    for (int byte; text && (byte = fgetc(text)) != EOF;) fputc(byte, answer);
    fflush(answer);
    if (beside(L".sleep", L"rb")) Sleep(INFINITE);
    return 0;
}
