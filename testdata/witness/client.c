// A client in C, as the Windows API's documentation would have it: client.exe MODE PIPE. What it sends comes back.
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what) {
	printf("%s: error %lu\n", what, GetLastError());
	exit(1);
}

static void want(int ok, const char *what) {
	if (!ok) {
		printf("%s\n", what);
		exit(1);
	}
}

static HANDLE open_pipe(const char *path, DWORD flags) {
	for (;;) {
		HANDLE h = CreateFileA(path, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING, flags, NULL);
		if (h != INVALID_HANDLE_VALUE) return h;
		if (GetLastError() != ERROR_PIPE_BUSY) fail("CreateFile");
		WaitNamedPipeA(path, 1000);
	}
}

static DWORD finish(HANDLE h, OVERLAPPED *ov, BOOL done, const char *what) {
	DWORD n = 0;
	if (!done && GetLastError() != ERROR_IO_PENDING) fail(what);
	if (!GetOverlappedResult(h, ov, &n, TRUE)) fail(what);
	return n;
}

#define TOTAL (1 << 20)
#define CHUNK 50000

// overlapped: reads and writes are in flight at once; then a read that waits is cancelled.
static void overlapped(const char *path) {
	HANDLE h = open_pipe(path, FILE_FLAG_OVERLAPPED);
	unsigned char *out = malloc(TOTAL), *in = malloc(TOTAL);
	OVERLAPPED r = {0}, w = {0};
	r.hEvent = CreateEventA(NULL, TRUE, FALSE, NULL);
	w.hEvent = CreateEventA(NULL, TRUE, FALSE, NULL);
	DWORD sent = 0, got = 0;
	for (DWORD i = 0; i < TOTAL; i++) out[i] = (unsigned char)(i * 31 >> 3);
	BOOL reading = ReadFile(h, in, TOTAL, NULL, &r);
	DWORD reading_error = GetLastError();
	while (sent < TOTAL) {
		DWORD n = TOTAL - sent < CHUNK ? TOTAL - sent : CHUNK;
		BOOL writing = WriteFile(h, out + sent, n, NULL, &w);
		DWORD writing_error = GetLastError();
		DWORD before = sent;
		SetLastError(reading_error);
		got += finish(h, &r, reading, "ReadFile");
		if (got < TOTAL) {
			reading = ReadFile(h, in + got, TOTAL - got, NULL, &r);
			reading_error = GetLastError();
		}
		SetLastError(writing_error);
		sent += finish(h, &w, writing, "WriteFile");
		want(sent == before + n, "a write was short");
		want(got <= sent, "more came than was sent");
		if (got == sent && sent < TOTAL) continue;
	}
	while (got < TOTAL) {
		SetLastError(reading_error);
		got += finish(h, &r, reading, "ReadFile");
		if (got < TOTAL) {
			reading = ReadFile(h, in + got, TOTAL - got, NULL, &r);
			reading_error = GetLastError();
		}
	}
	want(memcmp(in, out, TOTAL) == 0, "other bytes came back");
	reading = ReadFile(h, in, 1, NULL, &r);
	want(!reading && GetLastError() == ERROR_IO_PENDING, "a read that has nothing to read");
	CancelIoEx(h, &r);
	DWORD n;
	want(!GetOverlappedResult(h, &r, &n, TRUE) && GetLastError() == ERROR_OPERATION_ABORTED, "a cancelled read");
	CloseHandle(h);
}

static void call(const char *path) {
	char out[200], in[200];
	for (int i = 0; i < 50; i++) {
		DWORD n = 0;
		int len = sprintf(out, "message %d", i);
		while (!CallNamedPipeA(path, out, len, in, sizeof in, &n, 5000))
			if (GetLastError() != ERROR_PIPE_BUSY && GetLastError() != ERROR_SEM_TIMEOUT) fail("CallNamedPipe");
		want((int)n == len && memcmp(in, out, n) == 0, "another message came back");
	}
}

// transact: also a reply that is longer than the buffer.
static void transact(const char *path) {
	HANDLE h = open_pipe(path, 0);
	DWORD mode = PIPE_READMODE_MESSAGE, n = 0;
	if (!SetNamedPipeHandleState(h, &mode, NULL, NULL)) fail("SetNamedPipeHandleState");
	char out[5000], in[5000];
	for (int i = 1; i < 200; i++) {
		memset(out, i, sizeof out);
		if (!TransactNamedPipe(h, out, i * 25, in, sizeof in, &n, NULL)) fail("TransactNamedPipe");
		want((int)n == i * 25 && memcmp(in, out, n) == 0, "another message came back");
	}
	if (TransactNamedPipe(h, out, 5000, in, 2000, &n, NULL) || GetLastError() != ERROR_MORE_DATA) fail("a long reply");
	if (!ReadFile(h, in + 2000, 3000, &n, NULL)) fail("its rest");
	want(n == 3000 && memcmp(in, out, 5000) == 0, "another rest came");
	CloseHandle(h);
}

int main(int argc, char **argv) {
	want(argc == 3, "usage: client MODE PIPE");
	if (!strcmp(argv[1], "overlapped")) overlapped(argv[2]);
	else if (!strcmp(argv[1], "call")) call(argv[2]);
	else if (!strcmp(argv[1], "transact")) transact(argv[2]);
	else want(0, "no such mode");
	puts("ok");
	return 0;
}
