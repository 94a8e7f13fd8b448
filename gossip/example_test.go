package gossip_test

import (
	"context"
	"log"
	"net/http"

	"github.com/coveycache/covey"
	"github.com/coveycache/covey/gossip"
)

func ExampleMembers() {
	self := "http://10.0.0.7:8080"
	secret := [][]byte{[]byte("the same in all processes")}
	members, err := gossip.Members(gossip.Options{
		Self:    self,
		Seeds:   []string{"10.0.0.5", "10.0.0.6"}, // some that are likely to be there
		Secrets: secret,
	})
	if err != nil {
		log.Fatal(err)
	}
	group, err := covey.NewGroup(covey.GroupOptions{Self: self, Discovery: members, Secrets: secret})
	if err != nil {
		log.Fatal(err)
	}
	defer group.Shutdown(context.Background()) // and this process leaves
	http.Handle(group.Path(), group)
	log.Fatal(http.ListenAndServe(":8080", nil))
}
