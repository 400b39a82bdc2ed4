package probed

import (
	"net"
	"strings"
)

// resolver is dnsmasq's address, and nobodyThere one at which no name server listens.
const (
	resolver    = "127.0.0.53"
	nobodyThere = "127.0.0.54"
)

// upstreams are name servers to which dnsmasq sends names on. They answer all with one code (RFC 1035, 4.1.1), or not at all.
const (
	failingServer  = "127.0.0.61"
	refusingServer = "127.0.0.62"
	silentServer   = "127.0.0.63"
)

// startNames starts dnsmasq, which knows the hosts of the cases, and its upstreams.
func (l *lab) startNames() error {
	for address, code := range map[string]byte{failingServer: 2, refusingServer: 5, silentServer: 0} {
		socket, err := net.ListenPacket("udp", address+":53")
		if err != nil {
			return err
		}
		l.closers = append(l.closers, socket)
		go answerNames(socket, code)
	}
	lines := []string{
		"no-resolv", "no-hosts", "listen-address=" + resolver, "bind-interfaces", "user=root", "pid-file", "cache-size=0",
		"local=/test/", "local=/invalid/", // nobody else knows names in them
	}
	for _, at := range l.places {
		text := at.Names
		if text == "" {
			text = "address=/{host}/{address}"
		}
		lines = append(lines, at.fill(text))
	}
	lines = append(lines, "address=/"+proxyHost+"/"+proxyAddress)
	return l.start("dnsmasq", strings.Join(lines, "\n")+"\n", resolver+":53", func(config string) []string {
		return []string{"dnsmasq", "--keep-in-foreground", "--conf-file=" + config}
	})
}

// answerNames answers every question with a code and nothing else; 0 is not to answer.
func answerNames(socket net.PacketConn, code byte) {
	packet := make([]byte, 1500)
	for {
		n, from, err := socket.ReadFrom(packet)
		if err != nil {
			return
		}
		if code == 0 || n < 12 {
			continue
		}
		packet[2] |= 0x80 // an answer
		packet[3] = packet[3]&0xf0 | code
		_, _ = socket.WriteTo(packet[:n], from)
	}
}
