module github.com/coveycache/covey/examples/shop

go 1.26.0

require github.com/coveycache/covey v0.0.0

replace github.com/coveycache/covey => ../../
