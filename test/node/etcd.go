package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"time"
)

func (n *Node) etcd() command {
	client, peer := "http://"+n.addr("etcd"), "http://"+n.addr("etcd-peer")
	return command{
		argv: []string{
			n.Parts.Etcd, "--name=node", "--data-dir=" + filepath.Join(n.Dir, "etcd"),
			"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=node=" + peer,
			"--unsafe-no-fsync", // the data need not outlive a crash of the machine, and fsync is most of what etcd does
			"--logger=zap", "--log-level=warn",
		},
		timeout: 20 * time.Second,
		ready:   httpOK(client + "/health"),
	}
}

// httpOK is ready once the URL answers 200.
func httpOK(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := direct.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, resp.Status)
		}
		return nil
	}
}

// direct asks loopback without the proxy that the environment may name. Which authority signed is of no interest there.
var direct = &http.Client{Transport: &http.Transport{Proxy: nil, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
