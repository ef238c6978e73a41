package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is laid over the smallest values, and what the refusal says.
var refusals = []struct{ given, said string }{
	{"publicUrl: vpn.example.com", "/publicUrl"},
	{"publicUrl: https://vpn.example.com/path", "/publicUrl"},
	{"publicURL: https://vpn.example.com", "'publicURL' not allowed"},
	{"image: { digest: latest }", "/image/digest"},
	{"database: { url: postgres://bowline@db/bowline }", "'url' not allowed"},
	{"database: { existingSecret: '' }", "/database/existingSecret"},
	{"migrations: { mode: never }", "/migrations/mode"},
	{"migrations: { deadlineSeconds: 0 }", "/migrations/deadlineSeconds"},
	{"migrations: { database: { url: postgres://owner@db/bowline } }", "'url' not allowed"},
	{"redis: { key: 'a b' }", "/redis/key"},
	{"certificates: { source: files }", "/certificates/source"},
	{"certificates: { denied: [amira] }", "/certificates/denied/0"},
	{"certificates: { certManager: { duration: 90 days } }", "/certificates/certManager/duration"},
	{"telemetry: { log_format: xml }", "/telemetry/log_format"},
	{"spreading: { hosts: Never }", "/spreading/hosts"},
	{"identity: { replicas: 0 }", "/identity/replicas"},
	{"identity: { settings: { sealing_key_command: print-key } }", "'sealing_key_command' not allowed"},
	{"identity: { settings: { provider_networks: [corp.example.com] } }", "/identity/settings/provider_networks/0"},
	{"identity: { resources: { limits: { memory: lots } } }", "/identity/resources/limits/memory"},
	{"keyRegistry: { settings: { offline_grace_seconds: ten } }", "/keyRegistry/settings/offline_grace_seconds"},
	{"policyCompiler: { settings: {} }", "'settings' not allowed"},
	{"netmapGateway: { settings: { listen: '0.0.0.0:443' } }", "'listen' not allowed"},
	{"netmapGateway: { settings: { filter_sources: names } }", "/netmapGateway/settings/filter_sources"},
	{"netmapGateway: { settings: { proxy_protocol: true } }", "/netmapGateway/settings/trusted_proxies"},
	{"netmapGateway: { tls: { existingSecret: '' } }", "/netmapGateway/tls/existingSecret"},
	{"netmapGateway: { tls: { certManager: { enabled: true } } }", "/netmapGateway/tls/certManager/issuer/name"},
	{"netmapGateway: { tls: { acme: { agreeToTerms: true } } }", "/netmapGateway/tls/acme/existingClaim"},
	{"netmapGateway: { tls: { acme: { hosts: ['*.example.com'] } } }", "/netmapGateway/tls/acme/hosts/0"},
	{"netmapGateway: { tls: { enabled: false }, admin: { enabled: true } }", "/netmapGateway/admin/enabled"},
	{"auditHeads: { webhookUrl: 'https://heads.example.com' }", "/auditHeads/existingSecret"},
	{"auditHeads: { existingSecret: heads, s3: { bucket: heads } }", "/auditHeads/s3/endpoint"},
	{"auditHeads: { exportSeconds: 0 }", "/auditHeads/exportSeconds"},
	{"publicUrl: http://vpn.example.com", "/netmapGateway/tls/enabled"},
	{"netmapGateway: { service: { type: Ingress } }", "/netmapGateway/service/type"},
	{"netmapGateway: { service: { port: 70000 } }", "/netmapGateway/service/port"},
	{"netmapGateway: { route: { enabled: true } }", "/netmapGateway/route/parentRefs"},
	{"netmapGateway: { route: { kind: HTTPRoute } }", "/netmapGateway/route/kind"},
	{"netmapGateway: { autoscaling: { cpu: 0, mapSessions: 0 } }", "/netmapGateway/autoscaling/cpu"},
	{"relay: { enabled: true }", "/relay/host"},
	{"relay: { enabled: true, host: relay.example.com, certificate: { sha256: abc } }", "/relay/certificate/sha256"},
	{"networkPolicy: { clients: { from: [{}] } }", "/networkPolicy/clients/from/0"},
	{"networkPolicy: { database: { to: [{ cidr: 10.0.0.0/8 }] } }", "'cidr' not allowed"},
	{"tracing: { endpoint: 'collector:4317' }", "/tracing/endpoint"},
	{"tracing: { ratio: 2 }", "/tracing/ratio"},
	{"monitoring: { serviceMonitor: { interval: often } }", "/monitoring/serviceMonitor/interval"},
}

func TestWrongValuesAreRefusedWithTheirPlace(t *testing.T) {
	for _, refusal := range refusals {
		t.Run(refusal.given, func(t *testing.T) {
			_, _, err := render(t, merge(readValues(t, "minimal"), parseValues(t, refusal.given)))
			if err == nil {
				t.Fatal("it is taken")
			}
			if !strings.Contains(err.Error(), refusal.said) {
				t.Errorf("%v\nlacks %q", err, refusal.said)
			}
		})
	}
}

// A key that the schema does not know would be overlooked in silence, and one without a default never be found.
func TestSchemaAndValuesNameTheSame(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartDirectory, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	text, err = os.ReadFile(filepath.Join(chartDirectory, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	compareKeys(t, "", schema, parseValues(t, string(text)))
	for name, definition := range schema["definitions"].(map[string]any) {
		checkClosed(t, "definitions/"+name, definition)
	}
	checkClosed(t, "", map[string]any{"properties": schema["properties"], "type": "object", "additionalProperties": false})
}

func compareKeys(t *testing.T, place string, schema map[string]any, defaults values) {
	properties, isTable := schema["properties"].(map[string]any)
	if !isTable {
		return
	}
	for key, property := range properties {
		value, isThere := defaults[key]
		if !isThere && key != "global" {
			t.Errorf("values.yaml lacks %s/%s", place, key)
		}
		if table, isTable := value.(map[string]any); isTable {
			compareKeys(t, place+"/"+key, property.(map[string]any), table)
		}
	}
	for key := range defaults {
		if _, isThere := properties[key]; !isThere {
			t.Errorf("values.schema.json lacks %s/%s", place, key)
		}
	}
}

// Tables whose keys are not Bowline's.
var openTables = map[string]bool{"/global": true}

// checkClosed makes sure that every table says which keys it has, or of what kind all are.
func checkClosed(t *testing.T, place string, schema any) {
	table, isTable := schema.(map[string]any)
	if !isTable {
		return
	}
	isAffinity := strings.HasPrefix(place, "definitions/affinity/")
	if _, isSaid := table["additionalProperties"]; table["type"] == "object" && !isSaid && !openTables[place] && !isAffinity {
		t.Errorf("%s takes any key", place)
	}
	properties, _ := table["properties"].(map[string]any)
	for key, property := range properties {
		checkClosed(t, place+"/"+key, property)
	}
	checkClosed(t, place+"/*", table["items"])
}
