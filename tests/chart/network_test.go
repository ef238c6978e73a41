package chart

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// The edges of the services, as services/README.md draws them, with the ports at which they are open at both ends.
var edges = []string{
	"identity → key-registry:7102",
	"identity → policy-compiler:7103",
	"key-registry → identity:7101",
	"key-registry → policy-compiler:7103",
	"netmap-gateway → identity:7101",
	"netmap-gateway → key-registry:7102",
	"netmap-gateway → policy-compiler:7103",
	"policy-compiler → identity:7101",
	"policy-compiler → key-registry:7102",
	"relay → identity:7101",
	"relay → key-registry:7102",
	"test → identity:9090",
	"test → key-registry:9090",
	"test → netmap-gateway:9090",
	"test → policy-compiler:9090",
	"test → relay:9090",
}

// Ways to what is no pod of the release.
var outsideEdges = []string{
	"identity → *:443",
	"identity → *:5432",
	"identity → *:6379",
	"key-registry → *:5432",
	"key-registry → *:6379",
	"netmap-gateway → *:6379",
	"policy-compiler → *:5432",
	"policy-compiler → *:6379",
	"* → netmap-gateway:8443",
	"* → relay:3478",
	"* → relay:8444",
}

var components = []string{"identity", "key-registry", "policy-compiler", "netmap-gateway", "relay", "migrate", "test"}

func podLabels(component string) labels.Set {
	return labels.Set{
		"app.kubernetes.io/name": "bowline", "app.kubernetes.io/instance": releaseName,
		"app.kubernetes.io/component": component, "app.kubernetes.io/part-of": "bowline",
	}
}

func selects(t *testing.T, selector *meta.LabelSelector, component string) bool {
	t.Helper()
	if selector == nil {
		return false
	}
	parsed, err := meta.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Matches(podLabels(component))
}

func policies(t *testing.T, given values) []*networking.NetworkPolicy {
	t.Helper()
	manifests, _, err := render(t, given)
	if err != nil {
		t.Fatal(err)
	}
	var found []*networking.NetworkPolicy
	for _, manifest := range manifests {
		object, _ := decode(manifest)
		if policy, isPolicy := object.(*networking.NetworkPolicy); isPolicy {
			found = append(found, policy)
		}
	}
	return found
}

// allowed returns the ways that policies open at one end: component, peer, port.
func allowed(t *testing.T, found []*networking.NetworkPolicy, type_ networking.PolicyType) map[string]bool {
	t.Helper()
	ways := map[string]bool{}
	for _, policy := range found {
		for _, component := range components {
			if !selects(t, &policy.Spec.PodSelector, component) {
				continue
			}
			if !slices.Contains(policy.Spec.PolicyTypes, type_) {
				t.Errorf("%s does not deny by default", policy.Name)
			}
			add := func(peers []networking.NetworkPolicyPeer, ports []networking.NetworkPolicyPort) {
				if len(ports) == 0 {
					t.Errorf("%s opens every port", policy.Name)
				}
				for _, port := range ports {
					if port.Port.IntValue() == 53 {
						continue
					}
					for _, way := range ends(t, component, peers, port.Port.IntValue(), type_) {
						ways[way] = true
					}
				}
			}
			if type_ == networking.PolicyTypeIngress {
				for _, rule := range policy.Spec.Ingress {
					add(rule.From, rule.Ports)
				}
			} else {
				for _, rule := range policy.Spec.Egress {
					add(rule.To, rule.Ports)
				}
			}
		}
	}
	return ways
}

func ends(t *testing.T, component string, peers []networking.NetworkPolicyPeer, port int, type_ networking.PolicyType) []string {
	t.Helper()
	var others []string
	if len(peers) == 0 {
		others = []string{"*"}
	}
	for _, peer := range peers {
		if peer.IPBlock != nil {
			others = append(others, "*")
		}
		for _, other := range components {
			if peer.NamespaceSelector == nil && selects(t, peer.PodSelector, other) {
				others = append(others, other)
			}
		}
	}
	var ways []string
	for _, other := range others {
		if type_ == networking.PolicyTypeIngress {
			ways = append(ways, fmt.Sprintf("%s → %s:%d", other, component, port))
		} else {
			ways = append(ways, fmt.Sprintf("%s → %s:%d", component, other, port))
		}
	}
	return ways
}

func TestPoliciesOpenTheEdgesOfTheServicesAndNoOther(t *testing.T) {
	found := policies(t, readValues(t, "relay"))
	in, out := allowed(t, found, networking.PolicyTypeIngress), allowed(t, found, networking.PolicyTypeEgress)
	var open []string
	for way := range in {
		if strings.HasPrefix(way, "*") || out[way] {
			open = append(open, way)
		}
	}
	for way := range out {
		if strings.Contains(way, "→ *") {
			open = append(open, way)
		}
	}
	expected := append(slices.Clone(edges), outsideEdges...)
	slices.Sort(open)
	slices.Sort(expected)
	if !slices.Equal(open, expected) {
		t.Errorf("open are\n%s\nand not\n%s", strings.Join(open, "\n"), strings.Join(expected, "\n"))
	}
	for way := range in {
		if !strings.HasPrefix(way, "*") && !out[way] {
			t.Errorf("%s is open at one end alone", way)
		}
	}
}

// Where gateways order a certificate they reach the authority, and nothing else is open than without.
func TestPoliciesOpenTheWayToTheAuthority(t *testing.T) {
	egress := func(name string) map[string]bool {
		return allowed(t, policies(t, readValues(t, name)), networking.PolicyTypeEgress)
	}
	expected := egress("minimal")
	way := "netmap-gateway → *:443"
	if expected[way] {
		t.Errorf("%s is open without an authority", way)
	}
	expected[way] = true
	if open := egress("acme"); !maps.Equal(open, expected) {
		t.Errorf("open is %v and not %v", open, expected)
	}
}

// Those that have traces to send reach the collector; relays and all others do not.
func TestPoliciesOpenTheWayToTheCollector(t *testing.T) {
	expected := allowed(t, policies(t, readValues(t, "relay")), networking.PolicyTypeEgress)
	for _, name := range []string{"identity", "key-registry", "policy-compiler", "netmap-gateway"} {
		expected[name+" → *:4317"] = true
	}
	given := merge(readValues(t, "relay"), parseValues(t, "tracing: { endpoint: 'http://collector:4317' }"))
	if open := allowed(t, policies(t, given), networking.PolicyTypeEgress); !maps.Equal(open, expected) {
		t.Errorf("open is %v and not %v", open, expected)
	}
}

// The owners, and nobody else, reach the places that heads of audit trails are exported to.
func TestPoliciesOpenTheWaysOfAuditHeads(t *testing.T) {
	expected := allowed(t, policies(t, readValues(t, "relay")), networking.PolicyTypeEgress)
	for _, name := range []string{"identity", "key-registry", "policy-compiler"} {
		expected[name+" → *:443"], expected[name+" → *:9000"] = true, true
	}
	given := merge(readValues(t, "relay"), parseValues(t, `auditHeads: { existingSecret: heads, keys: { s3SecretAccessKey: s3 },
		webhookUrl: 'https://heads.example.com/', s3: { bucket: heads, endpoint: 'http://store:9000', accessKeyId: bowline } }`))
	if open := allowed(t, policies(t, given), networking.PolicyTypeEgress); !maps.Equal(open, expected) {
		t.Errorf("open is %v and not %v", open, expected)
	}
}

// The job that migrates reaches the database, and nothing else is open than without.
func TestPoliciesOpenTheWayOfMigrations(t *testing.T) {
	for _, name := range []string{"migrations-hook", "migrations-job"} {
		expected := allowed(t, policies(t, readValues(t, "minimal")), networking.PolicyTypeEgress)
		expected["migrate → *:5432"] = true
		if open := allowed(t, policies(t, readValues(t, name)), networking.PolicyTypeEgress); !maps.Equal(open, expected) {
			t.Errorf("%s: open is %v and not %v", name, open, expected)
		}
	}
}

// Every port that a policy names is one of the pod.
func TestPoliciesNamePortsOfThePods(t *testing.T) {
	given := merge(readValues(t, "relay"), readValues(t, "everything"))
	ports := map[string][]int32{}
	for _, workload := range workloads(t, given) {
		for _, port := range workload.pod.Containers[0].Ports {
			component := strings.TrimPrefix(workload.name, releaseName+"-bowline-")
			ports[component] = append(ports[component], port.ContainerPort)
		}
	}
	for way := range allowed(t, policies(t, given), networking.PolicyTypeIngress) {
		var port int32
		_, end, _ := strings.Cut(way, " → ")
		component, number, _ := strings.Cut(end, ":")
		fmt.Sscan(number, &port)
		if !slices.Contains(ports[component], port) {
			t.Errorf("%s: %s has the ports %v", way, component, ports[component])
		}
	}
}
