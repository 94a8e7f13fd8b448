package covey

// group_listen.go serves the group on a listener of its own.

import (
	"errors"
	"log"
	"net/http"
	"time"
)

// listen serves the group on its own listener.
func (g *Group) listen() {
	g.server = &http.Server{
		Handler: g, TLSConfig: g.opt.TLS.Clone(),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, // for the rest see hasten
		MaxHeaderBytes: 4 * MaxKeyLen, // a key, each byte of it escaped, and some headers
		ErrorLog:       log.New(serverLog{&g.log}, "", 0),
	}
	g.wg.Go(func() {
		err := guard("GroupOptions.Listener", func() error {
			if g.opt.servesTLS() {
				return g.server.ServeTLS(g.opt.Listener, "", "")
			}
			return g.server.Serve(g.opt.Listener)
		})
		if !errors.Is(err, http.ErrServerClosed) {
			g.opt.Logger.Error("covey: GroupOptions.Listener has failed, other peers cannot reach this process", "err", err)
		}
	})
}
