module github.com/coveycache/covey/examples/dns

go 1.25.0

require (
	github.com/coveycache/covey v0.0.0
	github.com/miekg/dns v1.1.73
)

require (
	github.com/dgryski/go-farm v0.0.0-20240924180020-3414d57e47da // indirect
	github.com/sony/gobreaker/v2 v2.4.0 // indirect
	golang.org/x/net v0.57.0 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/time v0.14.0 // indirect
)

replace github.com/coveycache/covey => ../../
