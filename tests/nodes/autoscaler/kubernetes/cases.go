// Random cases for emu's autoscaler, answered by Kubernetes' own code. This file is put into a copy of
// k8s.io/kubernetes/pkg/controller/podautoscaler (README.md says how), because what it asks is not exported.

package podautoscaler

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"time"

	autoscaling "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	metricsclient "k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
)

const nowS = 1000.0

type emuSample struct {
	Value   int64   `json:"value"`
	AtS     float64 `json:"at_s"`
	WindowS float64 `json:"window_s"`
}

type emuMember struct {
	Name     string     `json:"name"`
	Has      int64      `json:"has"`
	Sample   *emuSample `json:"sample"`
	Leaving  bool       `json:"leaving"`
	Pending  bool       `json:"pending"`
	Ready    *bool      `json:"ready"`
	StartedS float64    `json:"started_s"`
	TurnedS  float64    `json:"turned_s"`
}

type emuCase struct {
	Kind               string      `json:"kind"`
	Current            int32       `json:"current"`
	Target             int64       `json:"target"`
	Total              int64       `json:"total,omitempty"`
	ToleranceUp        float64     `json:"tolerance_up"`
	ToleranceDown      float64     `json:"tolerance_down"`
	InitialReadinessS  int         `json:"initial_readiness_s"`
	CpuInitializationS int         `json:"cpu_initialization_s"`
	Members            []emuMember `json:"members,omitempty"`
	Nodes              int32       `json:"nodes"`
	Fails              bool        `json:"fails"`
}

type emuStep struct {
	AtS   int   `json:"at_s"`
	Asked int32 `json:"asked"`
	Nodes int32 `json:"nodes"`
}

type emuPolicy struct {
	Nodes   int32 `json:"nodes"`
	Percent int32 `json:"percent"`
	PeriodS int32 `json:"period_s"`
}

type emuBehavior struct {
	WindowS  int32       `json:"window_s"`
	Policies []emuPolicy `json:"policies"`
	Select   string      `json:"select"`
}

type emuPaced struct {
	Kind    string      `json:"kind"`
	Current int32       `json:"current"`
	Least   int32       `json:"least"`
	Most    int32       `json:"most"`
	Up      emuBehavior `json:"up"`
	Down    emuBehavior `json:"down"`
	Steps   []emuStep   `json:"steps"`
}

// What the calculator asks of a cluster.
type emuCluster struct {
	metrics metricsclient.PodMetricsInfo
	total   int64
	pods    []*v1.Pod
}

func (c *emuCluster) GetResourceMetric(context.Context, v1.ResourceName, string, labels.Selector, string) (metricsclient.PodMetricsInfo, time.Time, error) {
	return c.metrics, time.Now(), nil
}

func (c *emuCluster) GetRawMetric(string, string, labels.Selector, labels.Selector) (metricsclient.PodMetricsInfo, time.Time, error) {
	return c.metrics, time.Now(), nil
}

func (c *emuCluster) GetObjectMetric(string, string, *autoscaling.CrossVersionObjectReference, labels.Selector) (int64, time.Time, error) {
	return c.total, time.Now(), nil
}

func (c *emuCluster) GetExternalMetric(string, string, labels.Selector) ([]int64, time.Time, error) {
	return []int64{c.total}, time.Now(), nil
}

func (c *emuCluster) List(labels.Selector) ([]*v1.Pod, error)    { return c.pods, nil }
func (c *emuCluster) Pods(string) corelisters.PodNamespaceLister { return c }
func (c *emuCluster) Get(name string) (*v1.Pod, error)           { return nil, fmt.Errorf("no %s", name) }

func pick[T any](rng *rand.Rand, values ...T) T { return values[rng.Intn(len(values))] }

func at(now time.Time, s float64) metav1.Time {
	return metav1.NewTime(now.Add(time.Duration((s - nowS) * float64(time.Second))))
}

func emuPod(member emuMember, now time.Time) *v1.Pod {
	started := at(now, member.StartedS)
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: member.Name}}
	pod.Status = v1.PodStatus{Phase: v1.PodRunning, StartTime: &started}
	if member.Pending {
		pod.Status.Phase = v1.PodPending
	}
	if member.Leaving {
		gone := metav1.NewTime(now)
		pod.DeletionTimestamp = &gone
	}
	if member.Ready != nil {
		status := v1.ConditionFalse
		if *member.Ready {
			status = v1.ConditionTrue
		}
		pod.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: status, LastTransitionTime: at(now, member.TurnedS)}}
	}
	requests := v1.ResourceList{v1.ResourceCPU: *resource.NewMilliQuantity(member.Has, resource.DecimalSI)}
	pod.Spec.Containers = []v1.Container{{Name: "app", Resources: v1.ResourceRequirements{Requests: requests}}}
	return pod
}

func emuMembers(rng *rand.Rand, most int64) []emuMember {
	yes, no := true, false
	load := rng.Float64() * 2
	var members []emuMember
	for number := range 1 + rng.Intn(12) {
		started := nowS - 0.5 - float64(rng.Intn(900))
		member := emuMember{
			Name:     fmt.Sprintf("m-%d", number),
			Has:      pick(rng, int64(1000), 1000, 1000, 500, 2000),
			Ready:    pick(rng, &yes, &yes, &yes, &yes, &yes, &yes, &yes, &no, &no, nil),
			StartedS: started,
			TurnedS:  started + float64(rng.Intn(1+int(nowS-started))),
			Pending:  rng.Intn(12) == 0,
			Leaving:  rng.Intn(15) == 0,
		}
		if rng.Intn(10) != 0 {
			value := int64(float64(most) * load * (0.5 + rng.Float64()))
			member.Sample = &emuSample{value, nowS - float64(rng.Intn(30)), float64(pick(rng, 10, 15, 60))}
		}
		members = append(members, member)
	}
	return members
}

func (c *emuCase) answer() {
	now := time.Now()
	cluster := &emuCluster{metrics: metricsclient.PodMetricsInfo{}, total: c.Total}
	for _, member := range c.Members {
		cluster.pods = append(cluster.pods, emuPod(member, now))
		if sample := member.Sample; sample != nil {
			window := time.Duration(sample.WindowS * float64(time.Second))
			cluster.metrics[member.Name] = metricsclient.PodMetric{Timestamp: at(now, sample.AtS).Time, Window: window, Value: sample.Value}
		}
	}
	calculator := NewReplicaCalculator(cluster, cluster, time.Duration(c.CpuInitializationS)*time.Second, time.Duration(c.InitialReadinessS)*time.Second)
	tolerances := Tolerances{scaleDown: c.ToleranceDown, scaleUp: c.ToleranceUp}
	all := labels.Everything()
	var err error
	switch c.Kind {
	case "utilization":
		c.Nodes, _, _, _, err = calculator.GetResourceReplicas(context.Background(), c.Current, int32(c.Target), v1.ResourceCPU, tolerances, "emu", all, "")
	case "average":
		c.Nodes, _, _, err = calculator.GetMetricReplicas(c.Current, c.Target, "metric", tolerances, "emu", all, all)
	case "total":
		c.Nodes, _, _, err = calculator.GetExternalPerPodMetricReplicas(c.Current, c.Target, "metric", tolerances, "emu", &metav1.LabelSelector{})
	}
	c.Fails = err != nil
}

func emuCalculated(rng *rand.Rand, kind string) *emuCase {
	c := &emuCase{
		Kind:               kind,
		ToleranceUp:        pick(rng, 0.1, 0.1, 0.1, 0.0, 0.25),
		ToleranceDown:      pick(rng, 0.1, 0.1, 0.1, 0.05),
		InitialReadinessS:  pick(rng, 30, 30, 10),
		CpuInitializationS: pick(rng, 300, 300, 60),
	}
	switch kind {
	case "utilization":
		c.Target = pick(rng, int64(50), 60, 75, 80, 100, 130)
		c.Members = emuMembers(rng, 10*c.Target)
	case "average":
		c.Target = pick(rng, int64(500), 1000, 8000, 50000)
		c.Members = emuMembers(rng, c.Target)
	case "total":
		c.Current = int32(rng.Intn(20))
		c.Target = pick(rng, int64(1000), 5000, 10000)
		c.Total = int64(rng.Float64() * 2 * float64(c.Target) * float64(c.Current+1))
	}
	for _, member := range c.Members {
		if !member.Leaving {
			c.Current++
		}
	}
	if c.Members != nil && rng.Intn(6) == 0 {
		c.Current += int32(1 + rng.Intn(3)) // asked for, and not there yet
	}
	c.answer()
	return c
}

func emuRandomBehavior(rng *rand.Rand, window int32) emuBehavior {
	made := emuBehavior{WindowS: window, Select: pick(rng, "max", "max", "max", "min", "disabled")}
	for range 1 + rng.Intn(2) {
		policy := emuPolicy{PeriodS: pick(rng, int32(15), 30, 60)}
		if rng.Intn(2) == 0 {
			policy.Nodes = int32(1 + rng.Intn(5))
		} else {
			policy.Percent = pick(rng, int32(10), 50, 100)
		}
		made.Policies = append(made.Policies, policy)
	}
	return made
}

func (b emuBehavior) rules() *autoscaling.HPAScalingRules {
	window := b.WindowS
	how := map[string]autoscaling.ScalingPolicySelect{"max": autoscaling.MaxChangePolicySelect, "min": autoscaling.MinChangePolicySelect, "disabled": autoscaling.DisabledPolicySelect}[b.Select]
	rules := &autoscaling.HPAScalingRules{StabilizationWindowSeconds: &window, SelectPolicy: &how}
	for _, policy := range b.Policies {
		kind, value := autoscaling.PodsScalingPolicy, policy.Nodes
		if policy.Percent > 0 {
			kind, value = autoscaling.PercentScalingPolicy, policy.Percent
		}
		rules.Policies = append(rules.Policies, autoscaling.HPAScalingPolicy{Type: kind, Value: value, PeriodSeconds: policy.PeriodS})
	}
	return rules
}

// The controller reads the true clock: what it remembers grows older instead.
func (a *HorizontalController) emuAge(key string, by time.Duration) {
	for i := range a.recommendations[key] {
		a.recommendations[key][i].timestamp = a.recommendations[key][i].timestamp.Add(-by)
	}
	for _, events := range []map[string][]timestampedScaleEvent{a.scaleUpEvents, a.scaleDownEvents} {
		for i := range events[key] {
			events[key][i].timestamp = events[key][i].timestamp.Add(-by)
		}
	}
}

func emuPacedCase(rng *rand.Rand) *emuPaced {
	const key = "emu/tier"
	c := &emuPaced{Kind: "paced", Current: int32(1 + rng.Intn(12)), Least: int32(1 + rng.Intn(2)), Most: int32(12 + rng.Intn(20))}
	c.Up = emuRandomBehavior(rng, pick(rng, int32(0), 0, 30, 60))
	c.Down = emuRandomBehavior(rng, pick(rng, int32(0), 60, 300))
	if c.Current < c.Least {
		c.Current = c.Least
	}
	a := &HorizontalController{
		recommendations: map[string][]timestampedRecommendation{},
		scaleUpEvents:   map[string][]timestampedScaleEvent{},
		scaleDownEvents: map[string][]timestampedScaleEvent{},
	}
	hpa := &autoscaling.HorizontalPodAutoscaler{}
	hpa.Spec.MaxReplicas = c.Most
	hpa.Spec.Behavior = &autoscaling.HorizontalPodAutoscalerBehavior{ScaleUp: c.Up.rules(), ScaleDown: c.Down.rules()}
	a.recordInitialRecommendation(c.Current, key)
	current, atS := c.Current, 0
	for range 12 {
		asked := int32(1 + rng.Intn(30))
		if rng.Intn(2) == 0 {
			asked = max(1, current+int32(rng.Intn(7)-3))
		}
		nodes := a.normalizeDesiredReplicasWithBehaviors(hpa, key, current, asked, c.Least)
		c.Steps = append(c.Steps, emuStep{atS, asked, nodes})
		if nodes != current {
			a.storeScaleEvent(hpa.Spec.Behavior, key, current, nodes)
		}
		current = nodes
		// never on the edge of a period or window
		wait := pick(rng, 7, 16, 16, 16, 31, 47, 113)
		atS += wait
		a.emuAge(key, time.Duration(wait)*time.Second)
	}
	return c
}

// EmuCases writes the cases, a JSON object on each line.
func EmuCases(out io.Writer, seed int64) error {
	rng := rand.New(rand.NewSource(seed))
	encoder := json.NewEncoder(out)
	for _, kind := range []string{"utilization", "average", "total"} {
		for range map[string]int{"utilization": 300, "average": 150, "total": 50}[kind] {
			if err := encoder.Encode(emuCalculated(rng, kind)); err != nil {
				return err
			}
		}
	}
	for range 100 {
		if err := encoder.Encode(emuPacedCase(rng)); err != nil {
			return err
		}
	}
	return nil
}
