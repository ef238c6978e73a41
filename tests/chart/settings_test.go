package chart

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// How long a process may take to start or to end.
const patience = 60 * time.Second

// Where the programs are that `cargo build` makes; CHART_PROGRAMS names another place.
func program(t *testing.T, name string) string {
	t.Helper()
	directory := os.Getenv("CHART_PROGRAMS")
	if directory == "" {
		directory = "../../target/debug"
	}
	path, err := filepath.Abs(filepath.Join(directory, name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("cargo build --workspace --bins makes it: %v", err)
	}
	return path
}

// cluster is what a pod of the release finds: secrets of an administrator, config maps of the chart.
type cluster struct {
	secrets    map[string]map[string]string
	configMaps map[string]map[string]string
	workloads  []workload
}

func (cluster *cluster) addSecret(t *testing.T, name string, files map[string]string) {
	t.Helper()
	data := map[string]string{}
	for key, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[key] = string(text)
	}
	cluster.secrets[name] = data
}

// run runs a program to its end.
func run(t *testing.T, command ...string) string {
	t.Helper()
	output, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, output)
	}
	return string(output)
}

// makeCertificate makes one that signs itself, as an administrator does by deploy/README.md.
func makeCertificate(t *testing.T, host, certificate, key string) {
	t.Helper()
	run(t, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1825",
		"-subj", "/CN="+host, "-addext", "subjectAltName=DNS:"+host, "-keyout", key, "-out", certificate)
}

// newCluster makes the secrets that deploy/README.md tells to make, and renders the chart for them with further values on top.
func newCluster(t *testing.T, further ...values) *cluster {
	t.Helper()
	directory := t.TempDir()
	at := func(parts ...string) string { return filepath.Join(append([]string{directory}, parts...)...) }
	bowline := program(t, "bowline")
	run(t, bowline, "certificates", "create", at("certificates"))
	run(t, bowline, "control-keys", "create", at("control-keys"))
	run(t, bowline, "sealing-key", "create", at("sealing-key"))
	run(t, bowline, "audit-key", "create", at("audit-key"))
	for _, name := range []string{"tls", "relay"} {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	makeCertificate(t, "vpn.example.com", at("tls", "certificate.pem"), at("tls", "key.pem"))
	makeCertificate(t, "relay.example.com", at("relay", "relay.pem"), at("relay", "relay.key"))
	run(t, "openssl", "x509", "-in", at("relay", "relay.pem"), "-outform", "DER", "-out", at("relay.der"))
	hash, _, _ := strings.Cut(run(t, "sha256sum", at("relay.der")), " ")

	made := &cluster{secrets: map[string]map[string]string{}, configMaps: map[string]map[string]string{}}
	for _, service := range []string{"identity", "key-registry", "policy-compiler", "netmap-gateway", "relay"} {
		made.addSecret(t, "bowline-"+service+"-certificate", map[string]string{
			"ca.crt": at("certificates", "ca.pem"), "tls.crt": at("certificates", service+".pem"), "tls.key": at("certificates", service+".key"),
		})
	}
	made.addSecret(t, "control-keys", map[string]string{
		"noise.key": at("control-keys", "noise.key"), "legacy.key": at("control-keys", "legacy.key"),
	})
	made.addSecret(t, "sealing-key", map[string]string{"sealing-key": at("sealing-key")})
	made.addSecret(t, "audit-heads", map[string]string{"key": at("audit-key")})
	maps.Copy(made.secrets["audit-heads"], map[string]string{"token": "0123456789abcdef", "s3": "0123456789abcdef"})
	made.addSecret(t, "vpn-example-com", map[string]string{"tls.crt": at("tls", "certificate.pem"), "tls.key": at("tls", "key.pem")})
	made.addSecret(t, "bowline-relay", map[string]string{"relay.pem": at("relay", "relay.pem"), "relay.key": at("relay", "relay.key")})
	// Nobody is there: the test ends where settings were read and the database is asked.
	url := "postgres://bowline@127.0.0.1:1/bowline"
	made.secrets["databases"] = map[string]string{"identity-url": url, "key-registry-url": url, "policy-compiler-url": url}
	made.secrets["database-authority"] = map[string]string{"ca.crt": made.secrets["bowline-relay"]["relay.pem"]}
	made.secrets["redis"] = map[string]string{"redis-url": "redis://127.0.0.1:1"}
	made.secrets["verify"] = map[string]string{"token": "0123456789abcdef"}

	given := merge(append([]values{readValues(t, "everything"), readValues(t, "relay")}, further...)...)
	given["relay"].(values)["certificate"].(values)["sha256"] = hash
	manifests, _, err := render(t, given)
	if err != nil {
		t.Fatal(err)
	}
	for _, manifest := range manifests {
		object, _ := decode(manifest)
		if found, isConfigMap := object.(*core.ConfigMap); isConfigMap {
			made.configMaps[found.Name] = found.Data
		}
	}
	made.workloads = workloads(t, given)
	return made
}

// pod is a workload whose files lie in a directory, and whose ports are free ones of this machine.
type pod struct {
	directory string
	telemetry string
	command   *exec.Cmd
	variables []string
	log       bytes.Buffer
}

// files returns what a volume has in it.
func (cluster *cluster) files(t *testing.T, volume core.Volume) map[string]string {
	t.Helper()
	var data map[string]string
	var items []core.KeyToPath
	switch {
	case volume.Secret != nil:
		data, items = cluster.secrets[volume.Secret.SecretName], volume.Secret.Items
	case volume.ConfigMap != nil:
		data, items = cluster.configMaps[volume.ConfigMap.Name], volume.ConfigMap.Items
	case volume.EmptyDir != nil:
		return nil
	}
	if data == nil {
		t.Fatalf("nothing is there for the volume %s", volume.Name)
	}
	if items == nil {
		return data
	}
	chosen := map[string]string{}
	for _, item := range items {
		text, isThere := data[item.Key]
		if !isThere {
			t.Fatalf("the volume %s has no %s", volume.Name, item.Key)
		}
		chosen[item.Path] = text
	}
	return chosen
}

// prepare lays the files of a component out as its pod has them.
func (cluster *cluster) prepare(t *testing.T, component string) *pod {
	t.Helper()
	for _, workload := range cluster.workloads {
		if workload.name != releaseName+"-bowline-"+component {
			continue
		}
		made := &pod{directory: t.TempDir(), telemetry: freeAddress(t)}
		here := func(text string) string {
			for _, place := range []string{"/etc/bowline/", "/var/lib/bowline"} {
				text = strings.ReplaceAll(text, place, made.directory+place)
			}
			return text
		}
		container := workload.pod.Containers[0]
		for _, volume := range workload.pod.Volumes {
			for _, mount := range container.VolumeMounts {
				if mount.Name != volume.Name {
					continue
				}
				place := filepath.Join(made.directory, mount.MountPath)
				if err := os.MkdirAll(place, 0o700); err != nil {
					t.Fatal(err)
				}
				for name, text := range cluster.files(t, volume) {
					if volume.ConfigMap != nil {
						text = here(text)
					}
					if err := os.WriteFile(filepath.Join(place, name), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		variables := cluster.variables(t, container)
		words := append(container.Command[1:], container.Args...)
		for number, word := range words {
			words[number] = here(expansion.Expand(word, expansion.MappingFuncFor(variables)))
		}
		for name, text := range variables {
			made.variables = append(made.variables, name+"="+text)
		}
		made.command = exec.Command(program(t, filepath.Base(container.Command[0])), words...)
		made.command.Stdout, made.command.Stderr = &made.log, &made.log
		return made
	}
	t.Fatalf("the chart runs no %s", component)
	return nil
}

// variables returns those that a container has from secrets.
func (cluster *cluster) variables(t *testing.T, container core.Container) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, variable := range container.Env {
		secret := variable.ValueFrom.SecretKeyRef
		text, isThere := cluster.secrets[secret.Name][secret.Key]
		if !isThere {
			t.Fatalf("nothing is there for the variable %s", variable.Name)
		}
		found[variable.Name] = text
	}
	return found
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// start starts the process; its addresses are given by variables, so that they are this machine's own.
func (pod *pod) start(t *testing.T, variables ...string) (ended chan error) {
	t.Helper()
	// None of this machine's: a variable of Bowline is a setting.
	pod.command.Env = append(append([]string{"PATH=" + os.Getenv("PATH")}, pod.variables...), variables...)
	if err := pod.command.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- pod.command.Wait() }()
	t.Cleanup(func() { _ = pod.command.Process.Kill() })
	return ended
}

// awaitReady waits until the process serves, returns its metrics, and ends it.
func (pod *pod) awaitReady(t *testing.T, ended chan error) (metrics string) {
	t.Helper()
	deadline, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case err := <-ended:
			t.Fatalf("it has ended: %v\n%s", err, pod.log.String())
		case <-deadline.Done():
			_ = pod.command.Process.Kill()
			<-ended
			t.Fatalf("it is not ready\n%s", pod.log.String())
		case <-pace.C:
		}
		if _, err := pod.ask("/readyz"); err == nil {
			break
		}
	}
	metrics, err := pod.ask("/metrics")
	if err != nil {
		t.Error(err)
	}
	if err := pod.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("its end: %v\n%s", err, pod.log.String())
	}
	return metrics
}

// ask returns what the process answers to a probe, when that is well.
func (pod *pod) ask(path string) (string, error) {
	answer, err := http.Get("http://" + pod.telemetry + path)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return string(text), err
}

// The programs read the settings that the chart writes, and each file that they name is mounted there.
func TestProcessesTakeWhatTheirPodsHave(t *testing.T) {
	cluster := newCluster(t)
	for _, owner := range []string{"identity", "key-registry", "policy-compiler"} {
		t.Run(owner, func(t *testing.T) {
			pod := cluster.prepare(t, owner)
			ended := pod.start(t, "BOWLINE_LISTEN=127.0.0.1:0", "BOWLINE_TELEMETRY__LISTEN="+pod.telemetry)
			select {
			case <-ended:
			case <-time.After(patience):
				t.Fatal("it has not asked the database")
			}
			if said := pod.log.String(); !strings.Contains(said, "Connection refused") {
				t.Errorf("the database is not what it lacks:\n%s", said)
			}
		})
	}
	t.Run("netmap-gateway", func(t *testing.T) {
		pod := cluster.prepare(t, "netmap-gateway")
		ended := pod.start(t, "BOWLINE_LISTEN=127.0.0.1:0", "BOWLINE_SERVICE__LISTEN=127.0.0.1:0", "BOWLINE_ADMIN__LISTEN=127.0.0.1:0",
			"BOWLINE_DRAIN_SECONDS=1", "BOWLINE_TELEMETRY__LISTEN="+pod.telemetry)
		metrics := pod.awaitReady(t, ended)
		// Scaling counts gateways without clients, too.
		if !strings.Contains(metrics, "\nbowline_gateway_map_sessions 0\n") {
			t.Errorf("what scales gateways is not there before the first client:\n%s", metrics)
		}
	})
}

// The relay shows the certificate that the gateways tell clients to expect.
func TestGatewaysKnowTheRelay(t *testing.T) {
	cluster := newCluster(t)
	pod := cluster.prepare(t, "relay")
	listen, stun := freeAddress(t), freeAddress(t)
	for number, word := range pod.command.Args {
		for usual, address := range map[string]string{"0.0.0.0:8444": listen, "0.0.0.0:3478": stun, "0.0.0.0:9090": pod.telemetry} {
			pod.command.Args[number] = strings.ReplaceAll(word, usual, address)
			word = pod.command.Args[number]
		}
	}
	pod.awaitReady(t, pod.start(t))
	written, err := os.ReadFile(filepath.Join(pod.directory, "/var/lib/bowline-map/derp.json"))
	if err != nil {
		t.Fatal(err)
	}
	told := cluster.configMaps[releaseName+"-bowline-relay-derp-map"]["derp.json"]
	for address, port := range map[string]string{listen: "8444", stun: "3478"} {
		_, own, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		written = bytes.ReplaceAll(written, []byte(own), []byte(port))
	}
	if !reflect.DeepEqual(parseJSON(t, written), parseJSON(t, []byte(told))) {
		t.Errorf("the relay writes\n%s\nand the chart\n%s", written, told)
	}
}

func parseJSON(t *testing.T, text []byte) (parsed any) {
	t.Helper()
	if err := json.Unmarshal(text, &parsed); err != nil {
		t.Fatal(fmt.Errorf("%w in %s", err, text))
	}
	return parsed
}
