SELECT parts[2] AS domain, parts[3] AS user, if(parts[1] = 'identity', parts[4], '') AS identity,
    toUInt8(JSONExtractBool(state, 'locked') AND (until = toDateTime64(0, 3, 'UTC') OR until > now64(3))) AS locked,
    parseDateTime64BestEffortOrZero(JSONExtractString(state, 'until'), 3, 'UTC') AS until,
    JSONExtractString(state, 'code') AS code, JSONExtractString(state, 'rule') AS rule,
    reason, actor, how, since
FROM
(
    SELECT parts, argMax(after, offset) AS state, argMax(reason, offset) AS reason, toString(argMax(actor, offset)) AS actor,
        toString(argMax(how, offset)) AS how, argMax(time, offset) AS since
    FROM {{database}}.`state_changes`
    WHERE kind = 'lock' AND effect IN ('applied', 'repaired') AND epoch = (SELECT max(epoch) FROM {{database}}.`state_changes`)
    GROUP BY parts
)
WHERE state != ''
