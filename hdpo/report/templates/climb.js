"use strict";
// The climb from a cliff, formula by formula as in hdpo/theory/cliff.py and hdpo/theory/escape.py. A `climb` has the
// fields of `hdpo.theory.escape.Climb`; GRPO's has weight 0.
const logit = (share) => Math.log(share) - Math.log1p(-share);
const expit = (position) => 1 / (1 + Math.exp(-position));
const logAllFail = (success, rollouts) => rollouts * Math.log1p(-success);
const cliffProbability = (success, group) => Math.exp(logAllFail(success, group));

// Mean steps to the first non-zero update; `kinds` are pairs [rollouts, success].
function expectedWait(...kinds) {
  const fails = kinds.reduce((sum, [rollouts, success]) => sum + logAllFail(success, rollouts), 0);
  return 1 / Math.abs(Math.expm1(fails));
}

// Advantages of a correct and of a failed rollout, leaving each one out of its own baseline.
function advantages(correct, group) {
  const others = group - 1;
  const one = (reward, mean) => {
    const variance = ((mean - mean * mean) * others) / (others - 1);
    return variance > 1e-12 ? (reward - mean) / (Math.sqrt(variance) + 1e-6) : reward - mean;
  };
  return [one(1, (correct - 1) / others), one(0, correct / others)];
}

// GRPO's mean push on a token's logit per unit step size: a sum over the number of correct rollouts.
function grpoDrift(right, tokens, group) {
  const success = right ** tokens;
  let ways = 1;
  let drift = 0;
  for (let correct = 1; correct < group; correct++) {
    ways *= (group - correct + 1) / correct;
    const [up, down] = advantages(correct, group);
    const push = correct * up - ((group - correct) * down * success) / (1 - success);
    drift += ways * success ** correct * (1 - success) ** (group - correct) * push;
  }
  return (drift * (1 - right)) / group;
}

// The pull of the Jensen–Shannon divergence on a token's logit; its limit at 0 is 0.
function jsdPull(right, teacher) {
  return right === 0 ? 0 : 0.5 * right * (1 - right) * (logit((right + teacher) / 2) - logit(right));
}

// The mean change of each token's logit in one step.
function meanStep(climb, right) {
  const demonstrated = 1 - cliffProbability(climb.teacher_success, climb.teacher_rollouts);
  const stuck = cliffProbability(right ** climb.tokens, climb.group_size);
  const pull = climb.weight * jsdPull(right, climb.teacher_success ** (1 / climb.tokens));
  return climb.step_size * (grpoDrift(right, climb.tokens, climb.group_size) + demonstrated * stuck * pull);
}

// Points [steps, success] from `start` to `goal`: ∫ d logit / mean step, by Simpson's rule on each piece.
function climbPath(climb, start, goal, pieces = 400) {
  const [first, last] = [start, goal].map((success) => logit(success ** (1 / climb.tokens)));
  const width = (last - first) / pieces;
  const slowness = (place) => 1 / meanStep(climb, expit(first + width * place));
  const points = [[0, start]];
  let before = slowness(0);
  for (let piece = 0, steps = 0; piece < pieces; piece++) {
    const after = slowness(piece + 1);
    steps += (width / 6) * (before + 4 * slowness(piece + 0.5) + after);
    points.push([steps, expit(first + width * (piece + 1)) ** climb.tokens]);
    before = after;
  }
  return points;
}

// Steps from `start` to `goal`. Where the right answer has no chance at all, nothing ever moves.
function climbTime(climb, start, goal = 0.5) {
  return start > 0 ? climbPath(climb, start, goal).at(-1)[0] : Infinity;
}
