SELECT groupArray((hour, n))
    FROM
    (
        SELECT hour, n, sum(n) OVER grown AS upto, row_number() OVER grown AS place
        FROM
        (
            SELECT hour, sum(live) AS n, sum(kept) AS stored
            FROM
            (
                SELECT toStartOfHour(id_time) AS hour, sum(1 + revision) AS live, 0 AS kept FROM {{database}}.`message_events` WHERE {{candidate}} GROUP BY hour
                UNION ALL
                SELECT toStartOfHour(id_time) AS hour, sum(1 + revision), 0 FROM {{database}}.`status_events` WHERE {{candidate}} GROUP BY hour
                UNION ALL
                SELECT hour, 0, argMax(events, computed_at) FROM {{home}}.`rollup_hours` WHERE rollup = '{{rollup}}' GROUP BY hour
            )
            GROUP BY hour
            HAVING n > stored
        )
        WINDOW grown AS (ORDER BY (n - stored) / n DESC, hour DESC ROWS UNBOUNDED PRECEDING)
    )
    WHERE upto <= {{budget}} OR place = 1
