-- Whether and how far the learned weights are used at each date.
with

categories as (

    select * from {{ ref('int_score_categories') }}

),

learning as (

    select
        source_name,
        step,
        min(window_step) as newest_window_step,
        sum(adopted) as adoption_count,
        count(*) as row_count
    from {{ ref('int_score_learning') }}
    group by
        source_name,
        step

),

unknown as (

    select
        categories.source_name,
        categories.step,
        sum(
            case
                when categories.first_sold_step < learning.newest_window_step
                    then categories.candidate_count * categories.adoption_rate
                else 0
            end
        )
        / nullif(sum(categories.candidate_count * categories.adoption_rate), 0) as expected_share
    from categories
    inner join learning
        on
            categories.source_name = learning.source_name
            and categories.step = learning.step
    group by
        categories.source_name,
        categories.step

),

trust as (

    {{ last_round(ref('int_score_trust'), ['shift', 'extra_trust']) }}

),

totals as (

    select
        source_name,
        step,
        ln((sum(weight * adopted) + 0.5) / (sum(weight * {{ likelihood('rate_log_odds') }}) + 0.5)) as rate_shift
    from {{ ref('int_score_trials') }}
    group by
        source_name,
        step

),

tried as (

    select
        trials.source_name,
        trials.step,
        trials.adopted,
        trials.weight,
        {{ likelihood('trials.base + trust.shift + trust.extra_trust * trials.distance') }} as likelihood,
        {{ likelihood('trials.rate_log_odds + totals.rate_shift') }} as rate_likelihood
    from {{ ref('int_score_trials') }} as trials
    inner join totals
        on
            trials.source_name = totals.source_name
            and trials.step = totals.step
    inner join trust
        on
            trials.source_name = trust.source_name
            and trials.step = trust.step

),

tested as (

    select
        source_name,
        step,
        2 * sum(weight * case
            when adopted = 1 then ln(likelihood / rate_likelihood)
            else ln((1 - likelihood) / (1 - rate_likelihood))
        end) as deviance_explained
    from tried
    group by
        source_name,
        step

)

-- Sums of fractions differ in their last digits from build to build; these do not.
select
    learning.source_name,
    learning.step,
    cast(learning.adoption_count as bigint) as adoption_count,
    learning.row_count,
    round(coalesce(unknown.expected_share, 0), 6) as unknown_share,
    round(tested.deviance_explained, 6) as deviance_explained,
    case
        -- The weights that were tested were learned from another assortment.
        when
            tested.deviance_explained is null
            or coalesce(unknown_before.expected_share, 0) > {{ score_maximum_share_unknown() }}
            then {{ score_untested_trust() }}
        when tested.deviance_explained < -{{ score_notable_deviance() }} then 0
        when tested.deviance_explained <= 0 then {{ score_untested_trust() }}
        else greatest(0, round({{ score_usual_trust() }} + trust.extra_trust, 6))
    end as trust
from learning
left join unknown
    on
        learning.source_name = unknown.source_name
        and learning.step = unknown.step
left join unknown as unknown_before
    on
        learning.source_name = unknown_before.source_name
        and learning.step = unknown_before.step - 1
left join tested
    on
        learning.source_name = tested.source_name
        and learning.step = tested.step
left join trust
    on
        learning.source_name = trust.source_name
        and learning.step = trust.step
where learning.adoption_count >= {{ score_minimum_adoptions() }}
