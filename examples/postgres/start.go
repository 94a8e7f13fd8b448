package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// errNotInstalled says that there is no PostgreSQL.
var errNotInstalled = errors.New("PostgreSQL is not installed (apt-get install postgresql)")

// startPostgres starts a database server for this process alone, which listens on a Unix socket in a
// temporary directory. PostgreSQL refuses to run as root, who becomes the user of Debian's package.
func startPostgres() (dsn string, stop func(), err error) {
	bin, err := postgresBin()
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "postgres")
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	attr := new(syscall.SysProcAttr)
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return "", nil, err
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2, os.Chown(dir, uid, gid)); err != nil {
			return "", nil, err
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	run := func(name string, args ...string) error {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir, cmd.SysProcAttr = dir, attr
		log, err := os.Create(filepath.Join(dir, name+".log")) // a pipe would be kept open by the server
		if err != nil {
			return err
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Run(); err != nil {
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%s: %w\n%s", name, err, text)
		}
		return nil
	}
	data := filepath.Join(dir, "data")
	if err := run("initdb", "-D", data, "-U", "shop", "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8"); err != nil {
		return "", nil, err
	}
	options := fmt.Sprintf("-k '%s' -c listen_addresses='' -c fsync=off", dir)
	if err := run("pg_ctl", "-D", data, "-w", "-o", options, "start"); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
		os.RemoveAll(dir)
	}
	return fmt.Sprintf("host='%s' user=shop dbname=postgres", dir), stop, nil
}

// postgresBin returns the directory of PostgreSQL's programs, which Debian keeps out of PATH.
func postgresBin() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", errNotInstalled
	}
	return filepath.Dir(found[len(found)-1]), nil
}
