package k8s_test

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/coveycache/covey"
	"github.com/coveycache/covey/k8s"
)

func ExampleService() {
	members, err := k8s.Service(k8s.Options{Service: "shop-covey"})
	if err != nil {
		log.Print(err) // not in a pod
		return
	}
	group, err := covey.NewGroup(covey.GroupOptions{
		Self:      "http://" + net.JoinHostPort(os.Getenv("POD_IP"), "8080"),
		Discovery: members,
		Secrets:   [][]byte{[]byte(os.Getenv("COVEY_SECRET"))},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer group.Shutdown(context.Background())
	http.Handle(group.Path(), group)
	log.Fatal(http.ListenAndServe(":8080", nil))
}
