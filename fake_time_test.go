package covey_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey"
)

func TestPriceIsLoadedAgainAfterItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		prices, err := covey.New("prices", covey.Options[int]{TTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer prices.Close() // else its goroutine outlives the bubble
		loads := 0
		load := func(context.Context, string) (int, error) {
			loads++
			time.Sleep(2 * time.Second) // takes no real time
			return loads, nil
		}
		for want := 1; want <= 3; want++ {
			got, err := prices.Get(t.Context(), "tea", load)
			if err != nil || got != want {
				t.Fatalf("got %d, %v; want %d", got, err, want)
			}
			time.Sleep(time.Minute) // the TTL, to the end
			synctest.Wait()         // what the cache does by itself then is done
		}
	})
}
