package chart

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// workload is a component as Kubernetes is told to run it.
type workload struct {
	name string
	pod  core.PodSpec
}

// workloads returns what the chart runs, the pod of `helm test` included.
func workloads(t *testing.T, given values) []workload {
	t.Helper()
	manifests, _, err := render(t, given)
	if err != nil {
		t.Fatal(err)
	}
	var found []workload
	for _, manifest := range manifests {
		object, err := decode(manifest)
		if err != nil {
			t.Fatal(err)
		}
		switch object := object.(type) {
		case *apps.StatefulSet:
			found = append(found, workload{object.Name, object.Spec.Template.Spec})
		case *apps.Deployment:
			found = append(found, workload{object.Name, object.Spec.Template.Spec})
		case *batch.Job:
			found = append(found, workload{object.Name, object.Spec.Template.Spec})
		case *core.Pod:
			found = append(found, workload{object.Name, object.Spec})
		}
	}
	return found
}

// allWorkloads are values with which the chart runs all that it can.
func allWorkloads(t *testing.T) values {
	t.Helper()
	return merge(readValues(t, "everything"), readValues(t, "relay"), readValues(t, "migrations-hook"), readValues(t, "tracing"))
}

func TestPodsHaveNoRights(t *testing.T) {
	found := workloads(t, allWorkloads(t))
	if len(found) != 7 {
		t.Errorf("%d workloads", len(found))
	}
	for _, workload := range found {
		pod, problems := workload.pod, []string{}
		expect := func(is bool, what string) {
			if !is {
				problems = append(problems, what)
			}
		}
		expect(pod.AutomountServiceAccountToken != nil && !*pod.AutomountServiceAccountToken, "has a token of its account")
		expect(pod.EnableServiceLinks != nil && !*pod.EnableServiceLinks, "has variables of services")
		expect(!pod.HostNetwork && !pod.HostPID && !pod.HostIPC, "shares with its host")
		security := pod.SecurityContext
		expect(*security.RunAsNonRoot && *security.RunAsUser == 65532, "is root")
		expect(security.SeccompProfile.Type == core.SeccompProfileTypeRuntimeDefault, "has no seccomp profile")
		for _, container := range pod.Containers {
			security := container.SecurityContext
			expect(*security.ReadOnlyRootFilesystem, "can write")
			expect(!*security.AllowPrivilegeEscalation, "can gain privileges")
			expect(slices.Equal(security.Capabilities.Drop, []core.Capability{"ALL"}) && security.Capabilities.Add == nil, "has capabilities")
			expect(container.Resources.Requests != nil && !container.Resources.Limits.Memory().IsZero(), "takes any memory")
			for _, mount := range container.VolumeMounts {
				expect(mount.ReadOnly || mount.Name == "map", "can write "+mount.MountPath)
				// What is mounted so does not follow its secret.
				expect(mount.SubPath == "", "does not see changes of "+mount.MountPath)
			}
		}
		for _, volume := range pod.Volumes {
			expect(volume.HostPath == nil, "reads its host")
		}
		for _, problem := range problems {
			t.Errorf("%s %s", workload.name, problem)
		}
	}
}

// Kubernetes refuses a mount without its volume, and takes a volume that nothing mounts.
func TestEachVolumeIsMounted(t *testing.T) {
	for _, workload := range workloads(t, allWorkloads(t)) {
		mounted := map[string]bool{}
		for _, mount := range workload.pod.Containers[0].VolumeMounts {
			mounted[mount.Name] = true
		}
		for _, volume := range workload.pod.Volumes {
			if !mounted[volume.Name] {
				t.Errorf("%s does not mount %s", workload.name, volume.Name)
			}
		}
	}
}

func TestPodsKeepTheRestrictedStandard(t *testing.T) {
	standard := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, workload := range workloads(t, allWorkloads(t)) {
		found := policy.AggregateCheckResults(evaluator.EvaluatePod(standard, &meta.ObjectMeta{}, &workload.pod))
		if !found.Allowed {
			t.Errorf("%s: %s", workload.name, found.ForbiddenDetail())
		}
	}
}

func TestProcessesAreAskedWhetherTheyLiveAndAreReady(t *testing.T) {
	for _, workload := range workloads(t, readValues(t, "relay")) {
		for _, container := range workload.pod.Containers {
			if strings.HasSuffix(workload.name, "-test") {
				continue
			}
			for what, probe := range map[string]*core.Probe{"/healthz": container.LivenessProbe, "/readyz": container.ReadinessProbe} {
				if probe == nil || probe.HTTPGet.Path != what || probe.HTTPGet.Port.StrVal != "telemetry" {
					t.Errorf("%s: %s is not asked", workload.name, what)
				}
			}
			if start := container.StartupProbe; start == nil || start.HTTPGet.Path != "/healthz" {
				t.Errorf("%s: nothing waits for its start", workload.name)
			}
		}
	}
}

func TestAProcessHasTimeToDrain(t *testing.T) {
	given := parseValues(t, "{ identity: { drainSeconds: 100 }, netmapGateway: { preStopSeconds: 30, drainSeconds: 200 } }")
	for _, workload := range workloads(t, merge(readValues(t, "minimal"), given)) {
		grace := workload.pod.TerminationGracePeriodSeconds
		switch {
		case strings.HasSuffix(workload.name, "-identity"):
			if *grace <= 100 {
				t.Errorf("identity has %d s", *grace)
			}
		case strings.HasSuffix(workload.name, "-netmap-gateway"):
			stop := workload.pod.Containers[0].Lifecycle.PreStop
			if *grace <= 230 || stop.Sleep.Seconds != 30 {
				t.Errorf("a gateway has %d s, and %v before it drains", *grace, stop)
			}
		}
	}
}

// Who changes the number of replicas of an owner changes the addresses that others call.
func TestCallersKnowEveryReplica(t *testing.T) {
	given := merge(readValues(t, "minimal"), parseValues(t, "{ identity: { replicas: 3 } }"))
	manifests, _, err := render(t, given)
	if err != nil {
		t.Fatal(err)
	}
	callers := 0
	for _, manifest := range manifests {
		object, _ := decode(manifest)
		settings, isSettings := object.(*core.ConfigMap)
		if !isSettings {
			continue
		}
		for _, text := range settings.Data {
			if !strings.Contains(text, "\nidentity = ") {
				continue
			}
			callers++
			for replica := range 3 {
				address := fmt.Sprintf("%q", fmt.Sprintf("vpn-bowline-identity-%d.vpn-bowline-identity.network.svc:7101", replica))
				if !strings.Contains(text, address) {
					t.Errorf("%s does not know %s", settings.Name, address)
				}
			}
		}
	}
	if callers != 3 {
		t.Errorf("%d services call identity", callers)
	}
}

// An upgrade in steps: what keeps its tag and its settings is not started again by the chart's new version.
func TestPodsDoNotChangeWithTheVersionOfTheChart(t *testing.T) {
	manifests, _, err := render(t, readValues(t, "minimal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, manifest := range manifests {
		object, _ := decode(manifest)
		var labels map[string]string
		switch object := object.(type) {
		case *apps.StatefulSet:
			labels = object.Spec.Template.Labels
		case *apps.Deployment:
			labels = object.Spec.Template.Labels
		}
		for label := range labels {
			if strings.Contains(label, "version") || strings.Contains(label, "chart") {
				t.Errorf("a pod has the label %s", label)
			}
		}
	}
}

func TestGatewaysGrowWithTheirClientsAndTheirWork(t *testing.T) {
	manifests, _, err := render(t, readValues(t, "autoscaling"))
	if err != nil {
		t.Fatal(err)
	}
	for _, manifest := range manifests {
		object, _ := decode(manifest)
		switch object := object.(type) {
		case *autoscaling.HorizontalPodAutoscaler:
			clients, work := object.Spec.Metrics[0], object.Spec.Metrics[1]
			if clients.Pods.Metric.Name != "bowline_gateway_map_sessions" || clients.Pods.Target.AverageValue.Value() != 15000 {
				t.Errorf("clients: %+v", clients.Pods)
			}
			if work.Resource.Name != core.ResourceCPU || *work.Resource.Target.AverageUtilization != 70 {
				t.Errorf("work: %+v", work.Resource)
			}
			return
		case *apps.Deployment:
			// An upgrade would set the number back.
			if object.Spec.Replicas != nil {
				t.Errorf("%s has a number of replicas beside the scaling", object.Name)
			}
		}
	}
	t.Error("nothing scales the gateways")
}
