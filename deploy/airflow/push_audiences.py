"""An Airflow 3 DAG that makes the files of layer3-behavior at five past every hour.

It expects the clone in /srv/push-audiences, with its virtual environment in .venv, on the machine
of the worker, and the Airflow connection `push_audiences` with the database's address.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

LOCKED = 4
"""The exit code if another run of the audience is at work."""

with DAG(
    dag_id="push_audiences_layer3_behavior",
    schedule="5 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # a missed run is not made up for: the next one has a window of its own
    max_active_runs=1,
) as dag:
    BashOperator(
        task_id="run",
        # exec: a signal from Airflow reaches the run itself
        bash_command="exec .venv/bin/audiences run layer3-behavior"
        " --output-dir /var/lib/push-audiences --automation-id '{{ run_id }}'",
        cwd="/srv/push-audiences",
        env={
            "AUDIENCES_TARGET": "prod",
            "AUTOMATION_ENGINE_VERSION": "v2",
            "DATABASE_URL": "{{ conn.push_audiences.get_uri() }}",
        },
        append_env=True,
        skip_on_exit_code=[LOCKED],
        retries=0,  # exit code 2 fails again, and 3 has published some files already
        execution_timeout=timedelta(minutes=40),  # longer than a run's deadline
        do_xcom_push=False,
    )
