package disk

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Mapped calls fn with the address range of each memory mapping of a file in this process. If name ends with a slash, these are the
// mappings of all files below that folder. A range is valid only while nothing unmaps the file.
func Mapped(name string, fn func(start, end uintptr)) error {
	name, err := resolved(name)
	if err != nil {
		return err
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if start, end, ok := mappedFile(lines.Bytes(), name); ok {
			fn(start, end)
		}
	}
	return lines.Err()
}

// resolved returns the path under which the kernel lists a file: absolute, and without symbolic links in its folder.
func resolved(name string) (string, error) {
	dir, file := filepath.Split(name)
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(dir, "/") + "/" + file, nil
}

// mappedFile parses a line of /proc/self/maps: addresses, four more fields, and the file's name.
func mappedFile(line []byte, name string) (start, end uintptr, ok bool) {
	at := bytes.IndexByte(line, '/')
	if at < 0 {
		return 0, 0, false
	}
	file := string(line[at:])
	if file != name && (!strings.HasSuffix(name, "/") || !strings.HasPrefix(file, name)) {
		return 0, 0, false
	}
	addresses, _, _ := bytes.Cut(line, []byte(" "))
	first, last, _ := bytes.Cut(addresses, []byte("-"))
	a, err := strconv.ParseUint(string(first), 16, 64)
	if err != nil {
		return 0, 0, false
	}
	b, err := strconv.ParseUint(string(last), 16, 64)
	if err != nil || b <= a {
		return 0, 0, false
	}
	return uintptr(a), uintptr(b), true
}
