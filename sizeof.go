package covey

// sizeof.go says how many bytes values hold.

// sizeClass returns what the allocator takes for an object of n bytes, nearly.
func sizeClass(n int) int { return (n + 15) &^ 15 }

// sizeofFunc returns the default of Options.Size: what a value holds beyond itself.
func sizeofFunc[V any]() func(key string, v V) int {
	return func(_ string, v V) int {
		switch v := any(v).(type) {
		case []byte:
			return sizeClass(cap(v))
		case string:
			return sizeClass(len(v))
		}
		return 0
	}
}
