package main

// group_versions.go is what all processes of the Zipf load know of the versions of the keys: memory
// that they share, so that a read can be compared with what had been acknowledged, by whomever,
// when it began.

import (
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

type versions struct {
	next         [zipfKeys]atomic.Uint64 // that was given out last
	stored       [zipfKeys]atomic.Uint64 // in the database
	acknowledged [zipfKeys]atomic.Uint64 // by the cache
}

func openVersions(file string) (*versions, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := int(unsafe.Sizeof(versions{}))
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*versions)(unsafe.Pointer(&b[0])), nil
}
