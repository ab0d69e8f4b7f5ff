/* Runs a command on a console with a code page and prints, in UTF-8, what is on the screen then.
 *
 *   console.exe CODE_PAGE COMMAND
 */
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

int main(int count, char **arguments)
{
    SECURITY_ATTRIBUTES inherited = {sizeof inherited, NULL, TRUE};
    STARTUPINFOW start = {.cb = sizeof start, .dwFlags = STARTF_USESTDHANDLES};
    PROCESS_INFORMATION child;
    CONSOLE_SCREEN_BUFFER_INFO screen;
    DWORD code = 0, length;
    WCHAR row[1024], *command = wcschr(GetCommandLineW(), L' ');
    char text[4096];
    (void)count;
    SetConsoleCP(atoi(arguments[1]));
    if (!SetConsoleOutputCP(atoi(arguments[1]))) return 98;
    HANDLE console = CreateFileW(L"CONOUT$", GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, &inherited, OPEN_EXISTING, 0, NULL);
    start.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    start.hStdOutput = start.hStdError = console;
    while (*command == L' ') command++;
    command = wcschr(command, L' ') + 1; /* behind the code page */
    if (!CreateProcessW(NULL, command, NULL, NULL, TRUE, 0, NULL, NULL, &start, &child)) return 97;
    WaitForSingleObject(child.hProcess, INFINITE);
    GetExitCodeProcess(child.hProcess, &code);
    GetConsoleScreenBufferInfo(console, &screen);
    for (COORD at = {0, 0}; at.Y <= screen.dwCursorPosition.Y; at.Y++) {
        ReadConsoleOutputCharacterW(console, row, screen.dwSize.X, at, &length);
        int bytes = WideCharToMultiByte(CP_UTF8, 0, row, length, text, sizeof text, NULL, NULL);
        fwrite(text, 1, bytes, stdout);
    }
    return code;
}
