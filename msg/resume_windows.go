package msg

// resumes is false: CancelIoEx on a named pipe's write does not tell how much of it the peer has got
// (https://learn.microsoft.com/en-us/windows/win32/fileio/cancelioex-func). So what might have to be broken off is copied,
// and written by a goroutine.
const resumes = false
