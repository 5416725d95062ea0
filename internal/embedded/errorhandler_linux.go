package embedded

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// In this form ClickHouse sets an error handler that ends the process
// (KillingErrorHandler) where a server only logs. An exception that leaves a
// native connection's thread then takes the whole server down: a wrong
// password, a connection reset, a port scan, each from anybody. No option
// changes that and no exported function sets another handler, so the methods of
// that class are replaced, in its table of virtual functions, by those of the
// class that it derives from (Poco::ErrorHandler), which do nothing.

// Names of the two classes as the compiler writes them into the type
// information, without the leading NUL that ends the string before.
const (
	killingHandlerName = "19KillingErrorHandler"
	harmlessName       = "N4Poco12ErrorHandlerE"
)

// The slots of exception(Exception), exception(std::exception), exception() in
// both tables, after the two destructors.
const firstExceptionSlot, exceptionSlots = 2, 3

// surviveConnectionErrors changes the library that this process has loaded from
// path. symbol is the address of chdb_query_cmdline in memory.
func surviveConnectionErrors(path string, symbol uintptr) error {
	file, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == "chdb_query_cmdline" })
	if i < 0 {
		return errors.New("no symbol chdb_query_cmdline")
	}
	base := uint64(symbol) - symbols[i].Value

	text, constants, tables := file.Section(".text"), file.Section(".rodata"), file.Section(".data.rel.ro")
	if text == nil || constants == nil || tables == nil {
		return errors.New("no section .text, .rodata or .data.rel.ro")
	}
	killing, err := findString(constants, killingHandlerName)
	if err != nil {
		return err
	}
	harmless, err := findString(constants, harmlessName)
	if err != nil {
		return err
	}
	words := memoryWords(base+tables.Addr, tables.Size/8)
	from, err := findVirtualTable(words, base+tables.Addr, base+harmless)
	if err != nil {
		return fmt.Errorf("%s: %w", harmlessName, err)
	}
	to, err := findVirtualTable(words, base+tables.Addr, base+killing)
	if err != nil {
		return fmt.Errorf("%s: %w", killingHandlerName, err)
	}
	for i := range firstExceptionSlot + exceptionSlots {
		for _, table := range [][]uint64{from, to} {
			if table[i] < base+text.Addr || table[i] >= base+text.Addr+text.Size {
				return errors.New("a table of virtual functions does not look like one")
			}
		}
	}
	return overwrite(to[firstExceptionSlot:][:exceptionSlots], from[firstExceptionSlot:][:exceptionSlots])
}

// findString returns the address, in the file's terms, of a NUL-terminated
// string that follows a NUL. It reads from the file: reading 70 MB of the
// library's memory would keep them in memory.
func findString(section *elf.Section, text string) (uint64, error) {
	want := append(append([]byte{0}, text...), 0)
	r := section.Open()
	buf := make([]byte, 1<<20)
	kept, at := 0, uint64(0) // buf[0] stands for offset at
	for {
		n, err := io.ReadFull(r, buf[kept:])
		data := buf[:kept+n]
		if i := bytes.Index(data, want); i >= 0 {
			return section.Addr + at + uint64(i) + 1, nil
		}
		if err != nil {
			return 0, fmt.Errorf("no class %s", text)
		}
		kept = copy(buf, data[len(data)-len(want)+1:])
		at += uint64(len(data) - kept)
	}
}

// findVirtualTable returns the virtual functions of the class whose name stands
// at address name. words is the memory from address start.
func findVirtualTable(words []uint64, start, name uint64) ([]uint64, error) {
	// Type information: its own table, the name, and more. Before a table of
	// virtual functions stand 0 and the address of the type information.
	i := slices.Index(words, name)
	if i < 1 {
		return nil, errors.New("no type information")
	}
	typeInfo := start + uint64(i-1)*8
	for i := 1; i+1+firstExceptionSlot+exceptionSlots <= len(words); i++ {
		if words[i] == typeInfo && words[i-1] == 0 {
			return words[i+1:], nil
		}
	}
	return nil, errors.New("no table of virtual functions")
}

// memoryWords views memory that the loader has mapped, for as long as the
// process lives.
func memoryWords(addr, n uint64) []uint64 {
	p := uintptr(addr)
	return unsafe.Slice((*uint64)(*(*unsafe.Pointer)(unsafe.Pointer(&p))), n)
}

// overwrite copies src to dst, which is read-only memory.
func overwrite(dst, src []uint64) error {
	page := uint64(unix.Getpagesize())
	first := uint64(uintptr(unsafe.Pointer(&dst[0])))
	start := first &^ (page - 1)
	end := (first + uint64(len(dst))*8 + page - 1) &^ (page - 1)
	words := memoryWords(start, (end-start)/8)
	pages := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), end-start)
	if err := unix.Mprotect(pages, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return err
	}
	copy(dst, src)
	return unix.Mprotect(pages, unix.PROT_READ)
}
